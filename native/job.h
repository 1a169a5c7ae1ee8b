// What the kernel is told. All of it was checked before (module.cpp).
#pragma once
#include <cstddef>
#include <cstdint>

enum Type { F64, F32, F16, BF16, U8, I8, U16, I16, TYPES };

constexpr int MAX_AXES = 8;
constexpr int64_t MAX_CHANNELS = 16;  // of Normalize
constexpr int64_t BLOCK = 8192;       // bytes that are assembled in the first-level cache
// Lines up to this many elements are blended whole with a 0/1 mask; slicing them would cost more.
constexpr int64_t LINE = 64;

// KEEP: copy the row before it is written. LAST: the partner is the row that was kept.
// PAIR: two rows that are each other's partner, in place, in one pass over both.
enum Step : int32_t { PASTE, KEEP, LAST, PAIR };
struct Visit {
  int32_t row, partner;
  Step step;
  const char* from;  // the partner's row, or a copy of it
};

struct Job {
  Type type;
  int64_t item;  // bytes per element
  int64_t rows;
  char* const* out;          // [rows]
  const char* const* x;      // [rows]
  const char* const* other;  // [rows], the partner of each
  int rank;                  // axes of a row, in the order of memory, the last one contiguous
  int64_t n[MAX_AXES];       // cells of each
  int axis[MAX_AXES];        // the plan's axis that it is, or -1
  int64_t stride[MAX_AXES];  // elements
  int64_t cells;             // elements per row
  int axes;                  // of the plan
  int64_t size[MAX_AXES];    // of the plan
  const int32_t* box;        // [rows, axes, 2]
  const int32_t* source;     // the same, or null; null without axes
  int64_t parts;             // weights of a stretched source are multiples of 1/parts; 0: nearest
  const void* mask;          // [rows, *grid], or null; null without axes
  int64_t mask_item;         // 4: float, 1: uint8, of which 255 is 1
  int64_t grid[MAX_AXES];    // cells of the mask, on each axis of the plan
  const float* opacity;      // [rows]
  bool in_place;             // out is x, so that what is not pasted is there already
  bool stream;               // write past the cache
};

// uint8 rows [H, W, C] -> normalised rows [C, H, W]
struct Normalize {
  Type type;                // F32, F16 or BF16
  char* const* out;         // [rows]
  const uint8_t* const* x;  // [rows]
  int64_t height, width, channels;
  const int32_t *box, *partner;
  const float *opacity, *scale, *bias;
  bool stream;
};

// Where cells of a stretched source come from: a cell, and the weight of the one after it.
struct Tap {
  int64_t cell;
  double weight;
};

struct Kernels {
  const char* name;
  // every visit, for the elements [begin, end) of each row; kept: room for a row; taps: for as many
  // as the longest axis has cells, where there is a source
  void (*paste)(const Job&, const Visit*, int64_t visits, char* kept, Tap* taps, int64_t begin,
                int64_t end);
  void (*normalize)(const Normalize&, const Visit*, int64_t visits);
  void (*stream_copy)(char*, const char*, int64_t bytes);
};

extern const Kernels kernels_baseline;
#ifdef BATCHMIX_X86
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#endif
