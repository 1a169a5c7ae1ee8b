// What the kernel is told: everything is checked before (module.cpp), nothing is allocated after.
#pragma once
#include <cstddef>
#include <cstdint>

enum Type { F64, F32, F16, BF16, U8, I8, U16, I16, TYPES };

constexpr int MAX_AXES = 8;
constexpr int64_t BLOCK = 8192;  // bytes that are assembled in the first-level cache
// Elements per line up to which a line is mixed whole, through a mask: parts of it would be shorter
// than what it costs to go from one to the next.
constexpr int64_t LINE = 64;

// Row `row` takes from row `partner` of `other`, or from the kept copy where partner is KEPT.
// PAIR: two rows that are each other's partner, in place, in one pass over both.
constexpr int32_t KEPT = -1;
enum Step : int32_t { PLAIN, KEEP, PAIR };  // KEEP: copy the row away before it is written
struct Visit {
  int32_t row, partner, step;
};

struct Run {
  int64_t begin, end;  // elements of a row that are pasted, contiguous
};

struct Job {
  Type type;
  int64_t item;                // bytes per element
  char* const* out;            // [rows]
  const char* const* x;        // [rows]
  const char* const* other;    // [rows]
  int rank;                    // axes of a row, in the order of memory, the last one contiguous
  int64_t n[MAX_AXES];         // cells of each
  int axis[MAX_AXES];          // the plan's axis that it is, or -1
  int64_t stride[MAX_AXES];    // elements
  int64_t cells;               // elements per row
  int axes;                    // of the plan
  int64_t size[MAX_AXES];      // of the plan
  const int32_t* box;          // [rows, axes, 2]
  const int32_t* source;       // the same, or null
  const float* mask;           // [rows, *size], or null
  const float* blend;          // [rows]
  bool in_place;               // out is x, so that what is not pasted is there already
  bool stream;                 // write past the cache
};

// uint8 rows [H, W, C] -> normalised rows [C, H, W]
struct Widen {
  Type type;                   // F32, F16 or BF16
  char* const* out;            // [rows]
  const uint8_t* const* x;     // [rows]
  int64_t height, width, channels;
  const int32_t *box, *partner;
  const float *blend, *scale, *bias;
  bool stream;
};

struct Scratch {
  Run *runs[2];                // capacity: lines of a row, each
  char *block[2];              // BLOCK bytes each, aligned
  char *row;                   // a row, or null
};

struct Kernels {
  const char* name;
  // every visit, for the elements [begin, end) of each row
  void (*mix)(const Job&, const Visit*, int64_t visits, const Scratch&, int64_t begin, int64_t end);
  void (*widen)(const Widen&, const Visit*, int64_t visits, const Scratch&);
  void (*stream_copy)(char*, const char*, int64_t bytes);
};

extern const Kernels kernels_baseline;
#ifdef BATCHMIX_X86
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#endif
