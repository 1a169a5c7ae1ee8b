// The partner's region stretched over the box: the nearest cell, or a blend of two on each axis.
#pragma once
#include "lines.h"

namespace {

// Where cell `at` of the box [to] comes from in the region [from], on one axis.
inline Tap tap_of(Run from, Run to, int64_t at, int64_t parts) {
  const int64_t n = to.end - to.begin, s = from.end - from.begin;
  const int64_t middle = (2 * (at - to.begin) + 1) * s;
  if (!parts) return {from.begin + middle / (2 * n), 0};
  if (middle <= n) return {from.begin, 0};
  const int64_t cell = (middle - n) / (2 * n), rest = (middle - n) % (2 * n);
  if (cell >= s - 1) return {from.end - 1, 0};
  const int64_t weight = (rest * parts + n) / (2 * n);
  if (weight == parts) return {from.begin + cell + 1, 0};
  return {from.begin + cell, static_cast<double>(weight) / static_cast<double>(parts)};
}

constexpr int64_t MADE = 256;  // elements that are made at a time

template <class E>
class Stretched {
 public:
  using C = typename E::C;
  Stretched(const Job& job, const Lines& lines, int32_t row, Tap* taps)
      : job_(job), lines_(lines), taps_(taps), step_(job.stride[lines.last]) {
    if (!job.source || lines.none || job.opacity[row] == 0) return;
    for (int m = 0; m < job.rank; m++) {
      from_[m] = ends(job, job.source, row, m);
      empty = empty || from_[m].begin >= from_[m].end;
    }
    const int last = lines.last;
    const Run within = lines.within[last];
    for (int64_t k = within.begin; k < within.end && !empty; k++)
      taps[k] = tap_of(from_[last], within, k, job.parts);
  }

  bool empty = false;  // there is nothing to stretch

  // What goes over the elements from `at` on of a line's piece that ends at `end`; their count.
  const T<E>* over(const T<E>* o, int64_t at, int64_t end, int64_t* count) {
    const int last = lines_.last;
    int64_t rest = at;
    for (int m = lines_.first; m < last; m++) {
      tap_[m] = tap_of(from_[m], lines_.within[m], rest / job_.stride[m], job_.parts);
      rest %= job_.stride[m];
    }
    const int64_t cell = rest / step_, part = rest % step_;
    if (2 * step_ > MADE) {  // one cell, or a part of it
      *count = step_ - part < MADE ? step_ - part : MADE;
      if (*count > end - at) *count = end - at;
      one(o + part, taps_[cell], *count);
    } else {
      *count = some(o, taps_ + cell, (end - at) / step_) * step_;
    }
    return made_;
  }

 private:
  void one(const T<E>* o, const Tap& tap, int64_t n) {
    o += tap.cell * step_;
    if (!job_.parts) return copy<E>(made_, nearest(o), n);
    blended(o, lines_.first, n, line_);
    if (tap.weight > 0) {
      blended(o + step_, lines_.first, n, next_);
      mix(line_, next_, tap.weight, n);
    }
    for (int64_t k = 0; k < n; k++) made_[k] = E::put(line_[k]);
  }

  // as many of the cells as there is room for; how many those were
  int64_t some(const T<E>* o, const Tap* taps, int64_t most) {
    const int64_t begin = taps[0].cell, room = MADE / step_;
    int64_t count = 0, end = begin;
    for (; count < most && count < room; count++) {
      const int64_t until = taps[count].cell + (taps[count].weight > 0 ? 2 : 1);
      if (job_.parts && until - begin > room) break;
      end = until;
    }
    o += begin * step_;
    if (!job_.parts) {
      const T<E>* line = nearest(o);
      for (int64_t k = 0, at = 0; k < count; k++)
        for (int64_t c = 0; c < step_; c++) made_[at++] = line[(taps[k].cell - begin) * step_ + c];
      return count;
    }
    blended(o, lines_.first, (end - begin) * step_, line_);
    for (int64_t k = 0, at = 0; k < count; k++) {
      const C* cell = line_ + (taps[k].cell - begin) * step_;
      const C w = static_cast<C>(taps[k].weight), v = 1 - w;
      if (w == 0)
        for (int64_t c = 0; c < step_; c++) made_[at++] = E::put(cell[c]);
      else
        for (int64_t c = 0; c < step_; c++) made_[at++] = E::put(cell[c] * v + cell[c + step_] * w);
    }
    return count;
  }

  const T<E>* nearest(const T<E>* o) const {
    for (int m = lines_.first; m < lines_.last; m++) o += tap_[m].cell * job_.stride[m];
    return o;
  }

  // n elements from `o` on, blended on the axes from m to the last but one
  void blended(const T<E>* o, int m, int64_t n, C* to) {
    if (m == lines_.last) {
      for (int64_t k = 0; k < n; k++) to[k] = E::get(o[k]);
      return;
    }
    o += tap_[m].cell * job_.stride[m];
    blended(o, m + 1, n, to);
    if (tap_[m].weight == 0) return;
    blended(o + job_.stride[m], m + 1, n, spare_[m]);
    mix(to, spare_[m], tap_[m].weight, n);
  }

  static void mix(C* to, const C* next, double weight, int64_t n) {
    const C w = static_cast<C>(weight), v = 1 - w;
    for (int64_t k = 0; k < n; k++) to[k] = to[k] * v + next[k] * w;
  }

  const Job& job_;
  const Lines& lines_;
  const Tap* taps_;  // of the last axis
  int64_t step_;
  Run from_[MAX_AXES];
  Tap tap_[MAX_AXES];  // of the others, where the line is
  C line_[MADE], next_[MADE], spare_[MAX_AXES][MADE];
  T<E> made_[MADE];
};

}  // namespace
