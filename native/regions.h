// Where a box lies in the memory of a row.
#pragma once
#include "loops.h"

namespace {

constexpr int64_t AHEAD = 5;  // runs from one that is mixed to one that is asked for

struct Region {
  Run* runs;         // in ascending order
  int64_t count;
  int64_t low, high; // the run within its line
  int64_t line;      // elements per line; 0 where runs are not cut from lines
};

// Ends of the box on memory axis m: all of it where the plan has no such axis.
inline Run ends(const Job& job, const int32_t* box, int64_t row, int m) {
  if (job.axis[m] < 0) return {0, job.n[m]};
  const int32_t* at = box + (row * job.axes + job.axis[m]) * 2;
  return {at[0], at[1]};
}

// Step to the next index of the axes before `last`, each within its ends; false after the last one.
inline bool next(const Run* within, int last, int64_t* index) {
  for (int m = last - 1; m >= 0; m--) {
    if (++index[m] < within[m].end) return true;
    index[m] = within[m].begin;
  }
  return false;
}

// The runs of a row: cut on the innermost axis that the box does not cover in full.
inline Region runs_of(const Job& job, int64_t row, Run* runs) {
  Run within[MAX_AXES];
  int64_t index[MAX_AXES];
  int last = -1;
  for (int m = 0; m < job.rank; m++) {
    within[m] = ends(job, job.box, row, m);
    index[m] = within[m].begin;
    if (within[m].begin > 0 || within[m].end < job.n[m]) last = m;
  }
  if (last < 0) {
    runs[0] = {0, job.cells};
    return {runs, 1, 0, job.cells, 0};
  }
  const int64_t step = job.stride[last];
  const int64_t low = within[last].begin * step, high = within[last].end * step;
  int64_t count = 0;
  do {
    int64_t base = 0;
    for (int m = 0; m < last; m++) base += index[m] * job.stride[m];
    runs[count++] = {base + low, base + high};
  } while (next(within, last, index));
  const int64_t line = job.n[last] * step;
  return {runs, count, low, high, line <= LINE ? line : 0};
}

// Ask for what is read soon: the prefetcher does not follow from one short run to the next.
// (INLINED, or the compiler finds a function without effects and drops the call)
template <class E>
INLINED void prefetch_run(const T<E>* x, const T<E>* o, const Region& region, int64_t cursor) {
  if (cursor + AHEAD >= region.count) return;
  const Run soon = region.runs[cursor + AHEAD];
  const int64_t bytes = (soon.end - soon.begin) * static_cast<int64_t>(sizeof(T<E>));
  if (x != o) prefetch(x + soon.begin, bytes);
  prefetch(o + soon.begin, bytes);
}
template <class E>
INLINED void prefetch_gap(const T<E>* x, const Region& region, int64_t cursor) {
  if (cursor + AHEAD >= region.count) return;
  const int64_t begin = region.runs[cursor + AHEAD - 1].end, end = region.runs[cursor + AHEAD].begin;
  prefetch(x + begin, (end - begin) * static_cast<int64_t>(sizeof(T<E>)));
}

// Paste the part of a region that lies in [begin, end) of a row; `gaps`: copy what lies between.
// All pointers are to element 0 of a row. The cursor moves on from block to block.
template <class E>
void paste(T<E>* to, const T<E>* x, const T<E>* o, typename E::C a, const Region& region,
           const T<E>* in, int64_t& cursor, int64_t begin, int64_t end, bool gaps) {
  int64_t at = begin;
  while (cursor < region.count && region.runs[cursor].begin < end) {
    const Run run = region.runs[cursor];
    prefetch_run<E>(o, o, region, cursor);
    if (region.line) {  // lines are short: a whole one at once, blocks end between lines
      const int64_t start = run.begin - region.low;
      if (gaps) copy<E>(to + at, x + at, start - at);
      select<E>(to + start, x + start, o + start, a, in, region.line);
      at = start + region.line;
    } else {
      const int64_t from = run.begin > begin ? run.begin : begin;
      const int64_t until = run.end < end ? run.end : end;
      if (gaps) copy<E>(to + at, x + at, from - at);
      if (a == 1)
        copy<E>(to + from, o + from, until - from);
      else
        blend<E>(to + from, x + from, o + from, a, until - from);
      at = until;
      if (run.end > end) break;
    }
    cursor++;
  }
  if (gaps) copy<E>(to + at, x + at, end - at);
}

// Skip the runs that end before `begin`.
inline int64_t first_run(const Region& region, int64_t begin) {
  int64_t low = 0, high = region.count;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (region.runs[middle].end <= begin) low = middle + 1; else high = middle;
  }
  return low;
}

// Which elements of a short line are pasted.
template <class E>
void fill(T<E>* in, const Region& region) {
  for (int64_t k = 0; k < region.line; k++)
    in[k] = static_cast<T<E>>(k >= region.low && k < region.high);
}

}  // namespace
