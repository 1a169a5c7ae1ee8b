// The order in which rows are visited.
#pragma once
#include <vector>

#include "job.h"

// ELSEWHERE: partners are rows of another array, which is not written to.
enum Writes { ELSEWHERE, APART, IN_PLACE, IN_PLACE_BY_PAIRS };

// Rows from partner to partner, so that a partner is read while it is in the cache.
// In place, a row is written after all that read it: chains from their open ends, then cycles,
// each with a copy of the row that it starts with, or as a pair. Rows of opacity 0 read only
// themselves.
inline std::vector<Visit> order_of(const int32_t* partner, const float* opacity, int64_t rows,
                                   Writes writes) {
  const auto n = static_cast<size_t>(rows);
  std::vector<Visit> order;
  order.reserve(n);
  if (writes == ELSEWHERE) {
    for (int32_t i = 0; i < rows; i++) order.push_back({i, partner[i], PASTE, nullptr});
    return order;
  }
  std::vector<int32_t> next(n), readers(n, 0);
  std::vector<char> done(n, 0);
  for (int32_t i = 0; i < rows; i++) {
    next[i] = opacity[i] > 0 ? partner[i] : i;
    if (next[i] != i) readers[next[i]]++;
  }
  const auto visit = [&](int32_t i) {
    order.push_back({i, next[i], PASTE, nullptr});
    done[i] = 1;
  };
  for (int32_t end = 0; end < rows; end++) {
    for (int32_t i = end; readers[i] == 0 && !done[i]; i = next[i]) {
      visit(i);
      readers[next[i]]--;
    }
  }
  for (int32_t start = 0; start < rows; start++) {
    if (done[start]) continue;
    if (writes == IN_PLACE_BY_PAIRS && next[next[start]] == start) {
      order.push_back({start, next[start], PAIR, nullptr});
      done[start] = done[next[start]] = 1;
      continue;
    }
    const size_t first = order.size();
    for (int32_t i = start; !done[i]; i = next[i]) visit(i);
    if (writes != APART) {
      order[first].step = KEEP;
      order.back().step = LAST;
    }
  }
  return order;
}
