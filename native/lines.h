// A row as lines: the cells of the plan's last axis in memory, one line after the other.
#pragma once
#include "regions.h"

namespace {

struct Lines {
  Run within[MAX_AXES];      // of the box
  int first = -1, last = 0;  // of the plan's axes; what comes before the first repeats the rest
  int64_t body = 0;          // elements that are repeated
  bool none = false;         // nothing lies in the box

  Lines(const Job& job, int32_t row) {
    for (int m = 0; m < job.rank; m++) {
      within[m] = ends(job, job.box, row, m);
      none = none || within[m].begin >= within[m].end;
      if (job.axis[m] < 0) continue;
      if (first < 0) first = m;
      last = m;
    }
    body = job.n[first] * job.stride[first];
  }
};

// The cell of a mask of g cells that cell `at` of n shows, and the first cell that shows `at`.
inline int64_t shown(int64_t at, int64_t g, int64_t n) {
  return g == n ? at : (2 * at + 1) * g / (2 * n);
}
inline int64_t edge(int64_t at, int64_t g, int64_t n) {
  return g == n ? at : (2 * n * at + g - 1) / (2 * g);
}

}  // namespace
