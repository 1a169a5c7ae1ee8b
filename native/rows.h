// What is done to one row, or to the two rows of a pair, where one opacity fills a box.
#pragma once
#include "regions.h"

namespace {

template <class E>
T<E>* as(char* p) {
  return reinterpret_cast<T<E>*>(p);
}
template <class E>
const T<E>* as(const char* p) {
  return reinterpret_cast<const T<E>*>(p);
}

// Short lines of a mask that repeats.
template <class E>
void select_lines(T<E>* to, const T<E>* x, const T<E>* o, typename E::C a, const LineMask<E>& in,
                  int64_t n) {
  for (int64_t k = 0; k < n; k += in.count)
    select<E>(to + k, x + k, o + k, a, in.get(), n - k < in.count ? n - k : in.count);
}

// The part of a box that lies in [begin, end) of a row; `gaps`: copy what lies between.
template <class E>
void paste_runs(T<E>* to, const T<E>* x, const T<E>* o, typename E::C a, Runs& runs, int64_t begin,
                int64_t end, bool gaps) {
  const LineMask<E> in(runs);
  if (runs.line) runs.join_lines();
  runs.skip_to(begin);
  int64_t at = begin;
  for (; runs.begin < end; runs.next()) {
    const int64_t from = runs.begin > begin ? runs.begin : begin;
    const int64_t until = runs.end < end ? runs.end : end;
    if (gaps) copy<E>(to + at, x + at, from - at);
    at = until;
    if (in.count) {  // ranges end between lines
      select_lines<E>(to + from, x + from, o + from, a, in, until - from);
      continue;
    }
    prefetch_run<E>(o, o, runs);
    if (a == 1)
      copy<E>(to + from, o + from, until - from);
    else
      blend<E>(to + from, x + from, o + from, a, until - from);
  }
  if (gaps) copy<E>(to + at, x + at, end - at);
}

// The same past the cache: what is blended is assembled in the cache, the rest goes through.
template <class E>
void stream_runs(T<E>* to, const T<E>* x, const T<E>* o, typename E::C a, Runs& runs, int64_t begin,
                 int64_t end) {
  constexpr int64_t item = sizeof(T<E>), most = BLOCK / item;
  alignas(64) T<E> block[most];
  Stream out(reinterpret_cast<char*>(to + begin));
  const auto put = [&](const T<E>* from, int64_t n) {
    out.put(reinterpret_cast<const char*>(from), n * item);
  };
  runs.skip_to(begin);
  int64_t at = begin;
  for (; runs.begin < end; runs.next()) {
    prefetch_gap<E>(x, runs);
    prefetch_run<E>(o, o, runs);
    const int64_t from = runs.begin > begin ? runs.begin : begin;
    const int64_t until = runs.end < end ? runs.end : end;
    put(x + at, from - at);
    if (a == 1) put(o + from, until - from);
    for (int64_t k = from; a < 1 && k < until; k += most) {
      const int64_t n = until - k < most ? until - k : most;
      blend<E>(block, x + k, o + k, a, n);
      put(block, n);
    }
    at = until;
  }
  put(x + at, end - at);
  out.flush();
}

template <class E>
void paste_row(const Job& job, int32_t row, const T<E>* o, int64_t begin, int64_t end) {
  T<E>* out = as<E>(job.out[row]);
  const T<E>* x = as<E>(job.x[row]);
  const float a = job.opacity[row];
  if (a == 0 && job.in_place) return;
  Runs runs = a > 0 ? Runs(job, row) : Runs();
  const bool whole = runs.begin == 0 && runs.end == job.cells;
  if (job.in_place || !job.stream)
    paste_runs<E>(out, x, o, a, runs, begin, end, !job.in_place);
  else if (!whole || a == 1 || !stream_blend<E>(out + begin, x + begin, o + begin, a, end - begin))
    stream_runs<E>(out, x, o, a, runs, begin, end);
}

// What both rows of a pair are given on a stretch that is alike for each: weights a and b, or 0.
template <class E>
void both(T<E>* i, T<E>* j, typename E::C a, typename E::C b, int64_t n) {
  if (a == 1 && b > 0)
    copy_both<E>(i, j, b, n);
  else if (b == 1 && a > 0)
    copy_both<E>(j, i, a, n);
  else if (a > 0 && b > 0)
    blend_both<E>(i, j, a, b, n);
  else if (a == 1)
    copy<E>(i, j, n);
  else if (b == 1)
    copy<E>(j, i, n);
  else if (a > 0)
    blend<E>(i, i, j, a, n);
  else if (b > 0)
    blend<E>(j, j, i, b, n);
}

// Calls work(at, until, in_one, in_two) for each stretch of [begin, end) that one or two rows
// paste.
template <class Work>
void sweep(Runs& one, Runs& two, int64_t begin, int64_t end, Work work) {
  one.skip_to(begin);
  two.skip_to(begin);
  for (int64_t at = begin; at < end && (one.begin < end || two.begin < end);) {
    const bool in_one = one.begin <= at, in_two = two.begin <= at;
    const int64_t edge = in_one ? one.end : one.begin, other = in_two ? two.end : two.begin;
    int64_t until = end;
    if (edge < until) until = edge;
    if (other < until) until = other;
    if (in_one || in_two) work(at, until, in_one, in_two);
    at = until;
    one.skip_to(at);
    two.skip_to(at);
  }
}

// A pair of rows by lines, of which one row or both paste a part.
template <class E>
void paste_line_pair(T<E>* i, T<E>* j, typename E::C a, typename E::C b, Runs& one, Runs& two,
                     int64_t line, int64_t begin, int64_t end) {
  // runs of longer lines, or of none, are whole lines here
  const LineMask<E> in_one = one.line == line ? LineMask<E>(one) : LineMask<E>(line, 0, line);
  const LineMask<E> in_two = two.line == line ? LineMask<E>(two) : LineMask<E>(line, 0, line);
  if (one.line == line) one.join_lines();
  if (two.line == line) two.join_lines();
  auto select_pair = select_both<E, false, false>;
  if (a == 1)
    select_pair = b == 1 ? select_both<E, true, true> : select_both<E, true, false>;
  else if (b == 1)
    select_pair = select_both<E, false, true>;
  sweep(one, two, begin, end, [&](int64_t at, int64_t until, bool first, bool second) {
    if (!second) return select_lines<E>(i + at, i + at, j + at, a, in_one, until - at);
    if (!first) return select_lines<E>(j + at, j + at, i + at, b, in_two, until - at);
    for (; at < until; at += in_one.count) {
      const int64_t n = until - at < in_one.count ? until - at : in_one.count;
      select_pair(i + at, j + at, a, b, in_one.get(), in_two.get(), n);
    }
  });
}

// Two rows that are each other's partner, in place.
template <class E>
void paste_pair(const Job& job, int32_t row, int32_t partner, int64_t begin, int64_t end) {
  Runs one(job, row), two(job, partner);
  const int64_t line = !two.line || (one.line && one.line < two.line) ? one.line : two.line;
  const float a = job.opacity[row], b = job.opacity[partner];
  T<E>*i = as<E>(job.out[row]), *j = as<E>(job.out[partner]);
  if (line) return paste_line_pair<E>(i, j, a, b, one, two, line, begin, end);
  sweep(one, two, begin, end, [&](int64_t at, int64_t until, bool first, bool second) {
    if (first && at == one.begin) prefetch_run<E>(i, j, one);
    if (second && at == two.begin) prefetch_run<E>(i, j, two);
    both<E>(i + at, j + at, first ? a : 0, second ? b : 0, until - at);
  });
}

}  // namespace
