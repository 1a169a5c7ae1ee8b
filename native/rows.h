// What is done to one row, or to the two rows of a pair.
#pragma once
#include "regions.h"

namespace {

template <class E>
T<E>* as(char* p) { return reinterpret_cast<T<E>*>(p); }
template <class E>
const T<E>* as(const char* p) { return reinterpret_cast<const T<E>*>(p); }

// A row written past the cache: what is blended is assembled in the cache, the rest goes through.
template <class E>
void streamed(T<E>* out, const T<E>* x, const T<E>* o, typename E::C a, const Region& region,
              T<E>* block, int64_t cursor, int64_t begin, int64_t end) {
  constexpr int64_t item = sizeof(T<E>), most = BLOCK / item;
  Stream to(reinterpret_cast<char*>(out + begin));
  const auto put = [&](const T<E>* from, int64_t n) { to.put(reinterpret_cast<const char*>(from), n * item); };
  int64_t at = begin;
  for (; cursor < region.count && region.runs[cursor].begin < end; cursor++) {
    const Run run = region.runs[cursor];
    prefetch_gap<E>(x, region, cursor);
    prefetch_run<E>(o, o, region, cursor);
    const int64_t from = run.begin > begin ? run.begin : begin, until = run.end < end ? run.end : end;
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
  to.flush();
}

// A row without mask and source.
template <class E>
void plain(const Job& job, const Scratch& scratch, int32_t row, const T<E>* o, int64_t begin,
           int64_t end) {
  T<E>* out = as<E>(job.out[row]);
  const T<E>* x = as<E>(job.x[row]);
  const float a = job.blend[row];
  const Region region = a > 0 ? runs_of(job, row, scratch.runs[0]) : Region{nullptr, 0, 0, 0, 0};
  int64_t cursor = first_run(region, begin);
  if (job.in_place || !job.stream) {
    T<E> in[LINE];
    fill<E>(in, region);
    paste<E>(out, x, o, a, region, in, cursor, begin, end, !job.in_place);
  } else {
    const bool whole = region.count == 1 && region.runs[0].end - region.runs[0].begin == job.cells;
    if (!whole || a == 1 || !stream_blend<E>(out + begin, x + begin, o + begin, a, end - begin))
      streamed<E>(out, x, o, a, region, as<E>(scratch.block[0]), cursor, begin, end);
  }
}

// What both rows of a pair are given on a stretch that is alike for each: weights a and b, or 0.
template <class E>
void both(T<E>* i, T<E>* j, typename E::C a, typename E::C b, int64_t n) {
  if (a == 1 && b > 0) copy_both<E>(i, j, b, n);
  else if (b == 1 && a > 0) copy_both<E>(j, i, a, n);
  else if (a > 0 && b > 0) blend_both<E>(i, j, a, b, n);
  else if (a == 1) copy<E>(i, j, n);
  else if (b == 1) copy<E>(j, i, n);
  else if (a > 0) blend<E>(i, i, j, a, n);
  else if (b > 0) blend<E>(j, j, i, b, n);
}

// A pair whose lines are long: from one end of a run, of either row, to the next.
template <class E>
void long_pair(T<E>* i, T<E>* j, typename E::C a, typename E::C b, const Region& one,
               const Region& two, int64_t begin, int64_t end) {
  int64_t c = first_run(one, begin), d = first_run(two, begin), at = begin;
  while (at < end && (c < one.count || d < two.count)) {
    const Run never{end, end};
    const Run first = c < one.count ? one.runs[c] : never, second = d < two.count ? two.runs[d] : never;
    const bool in_one = first.begin <= at && at < first.end;
    const bool in_two = second.begin <= at && at < second.end;
    const int64_t edge = in_one ? first.end : first.begin, other = in_two ? second.end : second.begin;
    int64_t until = end;
    if (edge > at && edge < until) until = edge;
    if (other > at && other < until) until = other;
    both<E>(i + at, j + at, in_one ? a : 0, in_two ? b : 0, until - at);
    at = until;
    if (in_one && at >= first.end) prefetch_run<E>(i, j, one, c++);
    if (in_two && at >= second.end) prefetch_run<E>(i, j, two, d++);
  }
}

// Whether a region holds a line, and which elements of it; the cursor moves on with the lines.
template <class E>
const T<E>* at_line(const Region& region, int64_t& cursor, int64_t begin, int64_t line,
                    const T<E>* in, const T<E>* all) {
  while (cursor < region.count && region.runs[cursor].end <= begin) cursor++;
  if (cursor == region.count || region.runs[cursor].begin >= begin + line) return nullptr;
  return region.line == line ? in : all;  // else its runs are whole lines
}

// A pair by lines, of which one or both rows paste a part.
template <class E>
void line_pair(T<E>* i, T<E>* j, typename E::C a, typename E::C b, const Region& one,
               const Region& two, int64_t line, int64_t begin, int64_t end) {
  T<E> in_one[LINE], in_two[LINE], all[LINE];
  fill<E>(in_one, one);
  fill<E>(in_two, two);
  for (int64_t k = 0; k < line; k++) all[k] = 1;
  auto select_pair = select_both<E, false, false>;
  if (a == 1) select_pair = b == 1 ? select_both<E, true, true> : select_both<E, true, false>;
  else if (b == 1) select_pair = select_both<E, false, true>;
  int64_t c = first_run(one, begin), d = first_run(two, begin);
  for (int64_t at = begin; at < end; at += line) {
    const T<E>* first = at_line<E>(one, c, at, line, in_one, all);
    const T<E>* second = at_line<E>(two, d, at, line, in_two, all);
    if (first && second) select_pair(i + at, j + at, a, b, first, second, line);
    else if (first) select<E>(i + at, i + at, j + at, a, first, line);
    else if (second) select<E>(j + at, j + at, i + at, b, second, line);
  }
}

// Two rows that are each other's partner, in place.
template <class E>
void pair(const Job& job, const Scratch& scratch, int32_t row, int32_t partner, int64_t begin,
          int64_t end) {
  const float a = job.blend[row], b = job.blend[partner];
  const Region none{nullptr, 0, 0, 0, 0};
  const Region one = a > 0 ? runs_of(job, row, scratch.runs[0]) : none;
  const Region two = b > 0 ? runs_of(job, partner, scratch.runs[1]) : none;
  T<E>*i = as<E>(job.out[row]), *j = as<E>(job.out[partner]);
  const int64_t line = !two.line || (one.line && one.line < two.line) ? one.line : two.line;
  if (line)
    line_pair<E>(i, j, a, b, one, two, line, begin, end);
  else
    long_pair<E>(i, j, a, b, one, two, begin, end);
}

// A row with a mask, or with a region of the partner stretched over its box.
template <class E>
void shaped(const Job& job, int32_t row, const T<E>* o) {
  T<E>* out = as<E>(job.out[row]);
  const T<E>* x = as<E>(job.x[row]);
  if (!job.in_place) copy<E>(out, x, job.cells);
  const float a = job.blend[row];
  if (a == 0) return;
  Run within[MAX_AXES], from[MAX_AXES];
  int64_t index[MAX_AXES], mask_stride[MAX_AXES], mask_cells = 1;
  int last = 0;
  for (int k = job.axes - 1; k >= 0; k--) {
    mask_stride[k] = mask_cells;
    mask_cells *= job.size[k];
  }
  for (int m = 0; m < job.rank; m++) {
    within[m] = ends(job, job.box, row, m);
    from[m] = job.source ? ends(job, job.source, row, m) : within[m];
    index[m] = within[m].begin;
    if (within[m].begin >= within[m].end) return;
    if (job.axis[m] >= 0) last = m;
  }
  const float one = 1;
  const int64_t step = job.stride[last], wide = within[last].end - within[last].begin;
  const int64_t along = job.mask ? mask_stride[job.axis[last]] : 0;
  const bool stretched = from[last].end - from[last].begin != wide || job.source;
  do {
    int64_t base = 0, partner = 0, cell = 0;
    for (int m = 0; m < last; m++) {
      const int64_t n = within[m].end - within[m].begin, s = from[m].end - from[m].begin;
      const int64_t at = from[m].begin + (2 * (index[m] - within[m].begin) + 1) * s / (2 * n);
      base += index[m] * job.stride[m];
      partner += at * job.stride[m];
      if (job.axis[m] >= 0) cell += index[m] * mask_stride[job.axis[m]];
    }
    const float* mask = job.mask ? job.mask + row * mask_cells + cell : &one;
    if (job.mask && !stretched && step == 1 && along == 1) {
      const int64_t start = base + within[last].begin;
      weigh<E>(out + start, x + start, o + partner + within[last].begin, a,
               mask + within[last].begin, wide);
      continue;
    }
    for (int64_t k = within[last].begin; k < within[last].end; k++) {
      const int64_t s = from[last].end - from[last].begin;
      const int64_t at = from[last].begin + (2 * (k - within[last].begin) + 1) * s / (2 * wide);
      const float weight = a * mask[k * along];
      T<E>* to = out + base + k * step;
      const T<E>*own = x + base + k * step, *theirs = o + partner + at * step;
      if (weight == 1)
        copy<E>(to, theirs, step);
      else if (weight > 0)
        blend<E>(to, own, theirs, weight, step);
    }
  } while (next(within, last, index));
}

template <class E>
void mix(const Job& job, const Visit* visits, int64_t count, const Scratch& scratch, int64_t begin,
         int64_t end) {
  const T<E>* kept = scratch.row ? as<E>(scratch.row) : nullptr;
  for (int64_t k = 0; k < count; k++) {
    const Visit v = visits[k];
    if (v.step == KEEP) copy<E>(as<E>(scratch.row) + begin, as<E>(job.x[v.row]) + begin, end - begin);
    const T<E>* o = v.partner == KEPT ? kept : as<E>(job.other[v.partner]);
    if (v.step == PAIR)
      pair<E>(job, scratch, v.row, v.partner, begin, end);
    else if (job.mask || job.source)
      shaped<E>(job, v.row, o);
    else
      plain<E>(job, scratch, v.row, o, begin, end);
  }
  fence();
}

}  // namespace
