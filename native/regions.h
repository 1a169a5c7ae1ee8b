// Where a box lies in the memory of a row.
#pragma once
#include "stream.h"

namespace {

struct Run {
  int64_t begin, end;
};

constexpr int64_t AHEAD = 5;          // prefetch distance, in runs
constexpr int64_t NEVER = INT64_MAX;  // where a run begins that there is not

// Ends of a region on memory axis m: all of it where the plan has no such axis.
inline Run ends(const Job& job, const int32_t* regions, int64_t row, int m) {
  if (job.axis[m] < 0) return {0, job.n[m]};
  const int32_t* at = regions + (row * job.axes + job.axis[m]) * 2;
  return {at[0], at[1]};
}

// The box of a row as runs of memory, one after the other in ascending order: cut on the innermost
// axis that it does not cover in full.
class Runs {
 public:
  int64_t begin = NEVER, end = NEVER;  // of this run; NEVER after the last one
  int64_t low = 0, high = 0;           // of each run within its line
  int64_t line = 0;                    // elements per line where lines are short, else 0

  Runs() = default;
  Runs(const Job& job, int64_t row) : stride_(job.stride) {
    for (int m = 0; m < job.rank; m++) {
      const Run on_axis = within_[m] = ends(job, job.box, row, m);
      if (on_axis.begin >= on_axis.end) return;
      if (on_axis.begin > 0 || on_axis.end < job.n[m]) last_ = m;
      index_[m] = on_axis.begin;
    }
    high = job.cells;
    if (last_ >= 0) {
      low = within_[last_].begin * stride_[last_];
      high = within_[last_].end * stride_[last_];
      line_ = job.n[last_] * stride_[last_];
      if (line_ <= LINE) line = line_;
    }
    start();
  }

  // From now on runs are of whole lines, as many as follow each other.
  void join_lines() {
    joined_ = true;
    if (begin != NEVER) start();
  }
  void next() {
    begin += line_;
    end += line_;
    if (--left_ <= 0) carry();
  }
  void skip_to(int64_t at) {
    while (end <= at) next();
  }
  // the run that is AHEAD of this one, or an empty one
  Run soon() const {
    if (left_ <= AHEAD) return {0, 0};
    return {begin + AHEAD * line_, end + AHEAD * line_};
  }
  // and the gap before that
  Run soon_between() const {
    if (left_ <= AHEAD) return {0, 0};
    return {end + (AHEAD - 1) * line_, begin + AHEAD * line_};
  }

 private:
  // the first of a series of runs, one in each line
  void start() {
    int64_t base = 0;
    for (int m = 0; m < last_; m++) base += index_[m] * stride_[m];
    begin = base + low;
    end = base + high;
    left_ = last_ > 0 ? within_[last_ - 1].end - within_[last_ - 1].begin : 1;
    if (!joined_) return;
    begin = base;
    end = base + left_ * line_;
    left_ = 1;
  }
  void carry() {
    for (int m = last_ - 2; m >= 0; m--) {
      if (++index_[m] < within_[m].end) return start();
      index_[m] = within_[m].begin;
    }
    begin = end = NEVER;
  }

  const int64_t* stride_ = nullptr;
  Run within_[MAX_AXES];
  int64_t index_[MAX_AXES];
  int last_ = -1;
  int64_t left_ = 0, line_ = 0;
  bool joined_ = false;
};

// Which elements of short lines are pasted, for as many lines as fit.
template <class E>
class LineMask {
 public:
  explicit LineMask(const Runs& runs) : LineMask(runs.line, runs.low, runs.high) {}
  LineMask(int64_t line, int64_t low, int64_t high) {
    if (!line) return;
    // unsigned: below `low` the difference is beyond every width
    const auto wide = static_cast<Bits<E>>(high - low);
    for (; count + line <= LINES; count += line)
      for (int64_t k = 0; k < line; k++)
        in_[count + k] = static_cast<Bits<E>>(-(static_cast<Bits<E>>(k - low) < wide));
  }
  const Bits<E>* get() const { return in_; }
  int64_t count = 0;  // elements, a number of lines

 private:
  static constexpr int64_t LINES = 4 * LINE;
  Bits<E> in_[LINES];
};

// Ask for what is read soon: the prefetcher does not follow from one short run to the next.
// (INLINED, or the compiler finds a function without effects and drops the call)
template <class E>
INLINED void prefetch_run(const T<E>* x, const T<E>* o, const Runs& runs) {
  const Run soon = runs.soon();
  const int64_t bytes = (soon.end - soon.begin) * static_cast<int64_t>(sizeof(T<E>));
  if (x != o) prefetch(x + soon.begin, bytes);
  prefetch(o + soon.begin, bytes);
}
template <class E>
INLINED void prefetch_gap(const T<E>* x, const Runs& runs) {
  const Run soon = runs.soon_between();
  prefetch(x + soon.begin, (soon.end - soon.begin) * static_cast<int64_t>(sizeof(T<E>)));
}

}  // namespace
