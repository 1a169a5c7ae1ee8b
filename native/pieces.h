// The box of a row as pieces of memory that are pasted alike, where a mask says how strongly.
#pragma once
#include "lines.h"

namespace {

// Elements [begin, end): ONE weight for all; SOME of them, those of set bits, with that weight; or
// EACH with its own.
enum Weights : uint16_t { ONE, SOME, EACH };
struct Piece {
  int64_t begin, end;
  float weight;
  Weights kind;
  uint16_t at;  // in Pieces::bits or Pieces::weights
};

constexpr int64_t CELLS = 256;  // of a line that are looked at together
constexpr int64_t ROOM = 2048;  // elements that are told apart
constexpr int64_t SHORT = 64;   // bytes: runs shorter than that on average are not pasted singly

inline float share(float v) { return v; }
inline float share(uint8_t v) { return static_cast<float>(v) / 255.0f; }
inline bool soft(float v) { return (v != 0) & (v != 1); }
inline bool soft(uint8_t v) { return (v != 0) & (v != 255); }

template <class B>
B all_or_none(bool is) {
  return static_cast<B>(-static_cast<B>(is));
}

// Each of `cells` values as often as a cell has elements.
template <class V>
void spread(V* to, const V* from, int64_t cells, int64_t step) {
  if (step == 1) {
    memcpy(to, from, static_cast<size_t>(cells) * sizeof(V));
    return;
  }
  int64_t k = 0;
#ifdef __AVX2__
  constexpr int64_t item = sizeof(V), many = 16 / item;
  if (step == 3 && many > 1) {  // the compiler does not find the shuffles
    __m128i at[3];
    for (int64_t p = 0; p < 48; p++)
      reinterpret_cast<char*>(at)[p] = static_cast<char>(p / item / 3 * item + p % item);
    for (; k + many <= cells; k += many) {
      const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + k));
      for (int c = 0; c < 3; c++)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 3 * k) + c, _mm_shuffle_epi8(v, at[c]));
    }
  }
#endif
  for (; k < cells; k++)
    for (int64_t c = 0; c < step; c++) to[k * step + c] = from[k];
}

// One value, as often as it fits in a register.
struct Repeated {
#if defined(__AVX2__)
  static constexpr int64_t bytes = 32;
  __m256i all;
  explicit Repeated(float v) : all(_mm256_castps_si256(_mm256_set1_ps(v))) {}
  explicit Repeated(uint8_t v) : all(_mm256_set1_epi8(static_cast<char>(v))) {}
  // how many of the bytes at `p` are these, from the first one on
  int64_t begins(const void* p) const {
    const __m256i there = _mm256_loadu_si256(static_cast<const __m256i*>(p));
    const auto same = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(there, all)));
    return ~same ? __builtin_ctz(~same) : bytes;
  }
#elif defined(__SSE2__)
  static constexpr int64_t bytes = 16;
  __m128i all;
  explicit Repeated(float v) : all(_mm_castps_si128(_mm_set1_ps(v))) {}
  explicit Repeated(uint8_t v) : all(_mm_set1_epi8(static_cast<char>(v))) {}
  int64_t begins(const void* p) const {
    const __m128i there = _mm_loadu_si128(static_cast<const __m128i*>(p));
    const int same = _mm_movemask_epi8(_mm_cmpeq_epi8(there, all));
    return same != 0xffff ? __builtin_ctz(~same) : bytes;
  }
#else
  static constexpr int64_t bytes = 8;
  unsigned char all[bytes];
  template <class M>
  explicit Repeated(M v) {
    for (int64_t k = 0; k < bytes; k += sizeof v) memcpy(all + k, &v, sizeof v);
  }
  int64_t begins(const void* p) const { return memcmp(p, all, bytes) ? 0 : bytes; }
#endif
};

// Where the run of equal values ends that begins at `from`, `end` at the latest.
template <class M>
int64_t run_end(const M* v, int64_t along, int64_t from, int64_t end, int64_t readable) {
  const M first = v[from * along];
  constexpr int64_t item = sizeof first, many = Repeated::bytes / item;
  const Repeated all(first);
  for (int64_t same = many; same == many && along == 1 && from + many <= readable && from < end;) {
    same = all.begins(v + from) / item;
    from += same;
  }
  while (from < end && v[from * along] == first) from++;
  return from < end ? from : end;
}

// The pieces of a row in ascending order, as many lines at a time as there is room for.
template <class E>
class Pieces {
 public:
  int64_t begin = 0, end = 0;  // of the lines that `piece` is of, in a body
  int64_t count = 0;
  bool done;  // no more lines
  Piece piece[2 * CELLS];
  Bits<E> bits[ROOM];
  float weights[ROOM];

  // of what lies in [from, until) of each body
  Pieces(const Job& job, const Lines& lines, int32_t row, int64_t from, int64_t until)
      : done(lines.none), job_(job), lines_(lines), needed_{from, until} {
    const int last = lines.last;
    opacity_ = job.opacity[row];
    n_ = job.n[last];
    step_ = job.stride[last];
    may_vary_ = job.mask && step_ * job.item < SHORT;
    most_ = may_vary_ && step_ * CELLS > ROOM ? ROOM / step_ : CELLS;
    at_ = lines.within[last].begin;
    int64_t cells = 1;
    for (int m = 0; m < job.rank; m++) {
      along_[m] = 0;
      grid_[m] = 1;
      index_[m] = lines.within[m].begin;
    }
    for (int k = job.axes - 1; k >= 0 && job.mask; k--) {
      int m = 0;
      while (job.axis[m] != k) m++;
      along_[m] = cells;
      grid_[m] = job.grid[k];
      cells *= job.grid[k];
    }
    row_ = row * cells;
    mask_cells_ = job.rows * cells;
  }

  // Those of the lines that follow.
  void next() {
    begin = end;
    count = used_ = 0;
    if (varied_) seen_ = -1;
    const Run within = lines_.within[lines_.last];
    while (!done) {
      int64_t base = 0;
      for (int m = lines_.first; m < lines_.last; m++) base += index_[m] * job_.stride[m];
      const int64_t until = at_ + most_ < within.end ? at_ + most_ : within.end;
      end = base + at_ * step_;
      if (end >= needed_.end) break;
      if (count + most_ > 2 * CELLS || (may_vary_ && used_ + most_ * step_ > ROOM)) return;
      if (base + until * step_ > needed_.begin) add_part(base, until);
      at_ = until < within.end ? until : within.begin;
      if (until == within.end) done = !step();
    }
    done = true;
    end = lines_.body;
  }

 private:
  // to the next line; false after the last one
  bool step() {
    for (int m = lines_.last - 1; m >= lines_.first; m--) {
      if (++index_[m] < lines_.within[m].end) return true;
      index_[m] = lines_.within[m].begin;
    }
    return false;
  }

  // the cells [at_, until) of the line that begins at `base`
  void add_part(int64_t base, int64_t until) {
    if (!job_.mask) return add({at_ * step_, until * step_, opacity_, ONE, 0}, base);
    int64_t cells = row_;
    for (int m = lines_.first; m < lines_.last; m++)
      cells += shown(index_[m], grid_[m], job_.n[m]) * along_[m];
    if (cells != seen_ || at_ != seen_at_) {  // else lines of the mask are seen more than once
      seen_ = cells;
      seen_at_ = at_;
      if (job_.mask_item == 1)
        look(static_cast<const uint8_t*>(job_.mask) + cells, until, mask_cells_ - cells);
      else
        look(static_cast<const float*>(job_.mask) + cells, until, mask_cells_ - cells);
    }
    for (int64_t k = 0; k < runs_; k++) add(run_[k], base);
  }

  void add(const Piece& run, int64_t base) {
    Piece* last = piece + count - 1;
    const bool joins = count > 0 && !job_.source && run.kind == ONE && last->kind == ONE &&
                       last->end == base + run.begin && last->weight == run.weight;
    if (joins) {
      last->end = base + run.end;
      return;
    }
    last[1] = run;
    last[1].begin += base;
    last[1].end += base;
    count++;
  }

  // the runs of equal weight; readable: cells from the line's first one to the mask's end
  template <class M>
  void look(const M* line, int64_t until, int64_t readable) {
    const int64_t g = grid_[lines_.last], along = along_[lines_.last];
    const int64_t stop = shown(until - 1, g, n_) + 1;
    int64_t left = 1 + (until - at_) * step_ * job_.item / SHORT;
    runs_ = 0;
    varied_ = false;
    for (int64_t at = at_, cell = shown(at_, g, n_); at < until;) {
      if (left-- == 0) return vary(line, until);
      const float weight = opacity_ * share(line[cell * along]);
      cell = run_end(line, along, cell, stop, readable);
      const int64_t upto = cell < stop ? edge(cell, g, n_) : until;
      if (weight > 0) run_[runs_++] = {at * step_, upto * step_, weight, ONE, 0};
      at = upto;
    }
  }

  // each element by itself
  template <class M>
  void vary(const M* line, int64_t until) {
    const int64_t g = grid_[lines_.last], along = along_[lines_.last], cells = until - at_;
    M stretched[CELLS];
    if (g != n_ || along != 1) {
      for (int64_t at = at_, cell = shown(at_, g, n_); at < until; cell++)
        for (const int64_t next = edge(cell + 1, g, n_); at < next && at < until; at++)
          stretched[at - at_] = line[cell * along];
      line = stretched - at_;
    }
    line += at_;
    uint8_t any = 0;
    for (int64_t k = 0; k < cells; k++) any |= soft(line[k]);
    runs_ = 1;
    varied_ = true;
    const auto at = static_cast<uint16_t>(used_);
    run_[0] = {at_ * step_, until * step_, opacity_, any ? EACH : SOME, at};
    if (any) {
      for (int64_t k = 0; k < cells; k++) weight_of_[k] = opacity_ * share(line[k]);
      spread(weights + used_, weight_of_, cells, step_);
    } else {
      for (int64_t k = 0; k < cells; k++) bits_of_[k] = all_or_none<Bits<E>>(line[k] != 0);
      spread(bits + used_, bits_of_, cells, step_);
    }
    used_ += cells * step_;
  }

  const Job& job_;
  const Lines& lines_;
  Run needed_;
  float opacity_;
  int64_t n_, step_, most_, at_, row_, mask_cells_;
  int64_t along_[MAX_AXES], grid_[MAX_AXES], index_[MAX_AXES];  // along: cells of the mask
  int64_t seen_ = -1, seen_at_ = 0;                             // what the runs are of
  int64_t runs_ = 0, used_ = 0;
  bool may_vary_, varied_ = false;
  Piece run_[CELLS];
  Bits<E> bits_of_[CELLS];
  float weight_of_[CELLS];
};

}  // namespace
