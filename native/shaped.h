// What is done to a row whose opacity differs from cell to cell, or whose source is stretched.
#pragma once
#include "rows.h"

namespace {

// The cell of the partner's region [from] that is pasted on cell `at` of the box [to], on one axis.
inline int64_t stretched(Run from, Run to, int64_t at) {
  const int64_t n = to.end - to.begin, s = from.end - from.begin;
  return from.begin + (2 * (at - to.begin) + 1) * s / (2 * n);
}

// Step to the next index of the axes before `last`, each within its ends; false after the last one.
inline bool next(const Run* within, int last, int64_t* index) {
  for (int m = last - 1; m >= 0; m--) {
    if (++index[m] < within[m].end) return true;
    index[m] = within[m].begin;
  }
  return false;
}

template <class E>
void paste_shaped(const Job& job, int32_t row, const T<E>* o, int64_t begin, int64_t end) {
  T<E>* out = as<E>(job.out[row]);
  const T<E>* x = as<E>(job.x[row]);
  if (!job.in_place) copy<E>(out + begin, x + begin, end - begin);
  const float a = job.opacity[row];
  if (a == 0) return;
  Run within[MAX_AXES], from[MAX_AXES];
  int64_t index[MAX_AXES], along[MAX_AXES], cells = 1;  // along: of the mask, per cell of an axis
  int last = 0;                                         // of the plan's axes, in memory
  for (int m = 0; m < job.rank; m++) {
    within[m] = ends(job, job.box, row, m);
    from[m] = ends(job, job.source ? job.source : job.box, row, m);
    if (within[m].begin >= within[m].end || from[m].begin >= from[m].end) return;
    index[m] = within[m].begin;
    along[m] = 0;
    if (job.axis[m] >= 0) last = m;
  }
  for (int k = job.axes - 1; k >= 0; k--) {
    for (int m = 0; m < job.rank; m++)
      if (job.axis[m] == k && job.mask) along[m] = cells;
    cells *= job.size[k];
  }
  const float one = 1, *mask_row = job.mask ? job.mask + row * cells : &one;
  const int64_t step = job.stride[last];
  do {
    int64_t base = 0, partner = 0, cell = 0;
    for (int m = 0; m < last; m++) {
      base += index[m] * job.stride[m];
      partner += (job.source ? stretched(from[m], within[m], index[m]) : index[m]) * job.stride[m];
      cell += index[m] * along[m];
    }
    // ranges end between cells
    int64_t first = (begin - base) / step, until = (end - base) / step;
    if (first < within[last].begin) first = within[last].begin;
    if (until > within[last].end) until = within[last].end;
    const float* mask = mask_row + cell;
    if (!job.source && step == 1 && along[last] == 1) {
      const int64_t at = base + first;
      weigh<E>(out + at, x + at, o + at, a, mask + first, until - first);
      continue;
    }
    for (int64_t k = first; k < until; k++) {
      const float weight = a * mask[k * along[last]];
      const int64_t theirs = job.source ? stretched(from[last], within[last], k) : k;
      const int64_t at = base + k * step, of = partner + theirs * step;
      if (weight == 1)
        copy<E>(out + at, o + of, step);
      else if (weight > 0)
        blend<E>(out + at, x + at, o + of, weight, step);
    }
  } while (next(within, last, index));
}

template <class E>
void paste_rows(const Job& job, const Visit* visits, int64_t count, char* kept, int64_t begin,
                int64_t end) {
  for (int64_t k = 0; k < count; k++) {
    const Visit v = visits[k];
    const T<E>* o = as<E>(v.from);
    if (v.step == KEEP) copy<E>(as<E>(kept) + begin, as<E>(job.x[v.row]) + begin, end - begin);
    if (v.step == PAIR)
      paste_pair<E>(job, v.row, v.partner, begin, end);
    else if (job.mask || job.source)
      paste_shaped<E>(job, v.row, o, begin, end);
    else
      paste_row<E>(job, v.row, o, begin, end);
  }
  fence();
}

}  // namespace
