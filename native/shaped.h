// What is done to a row whose opacity differs from cell to cell, or whose source is stretched.
#pragma once
#include "pieces.h"
#include "rows.h"
#include "stretch.h"

namespace {

// Writes a part of a row in ascending order; what is not pasted is the row's own.
template <class E>
class Writer {
 public:
  Writer(const Job& job, T<E>* to, const T<E>* x, int64_t at)
      : to_(to), x_(x), at_(at), in_place_(job.in_place), streams_(job.stream && !job.in_place) {
    if (streams_) stream_ = Stream(reinterpret_cast<char*>(to + at));
  }

  void own(int64_t until) {
    if (streams_)
      put(x_ + at_, until - at_);
    else if (!in_place_)
      copy<E>(to_ + at_, x_ + at_, until - at_);
    at_ = until;
  }

  // n elements of the partner over those from `at` on
  void paste(int64_t at, const T<E>* o, int64_t n, const Piece& piece, const Pieces<E>& pieces,
             int64_t offset) {
    own(at);
    const bool whole = piece.kind == ONE && piece.weight == 1;
    if (streams_ && whole) put(o, n);
    for (int64_t k = 0; streams_ && !whole && k < n; k += MOST) {
      const int64_t some = n - k < MOST ? n - k : MOST;
      lay(block_, x_ + at + k, o + k, some, piece, pieces, offset + k);
      put(block_, some);
    }
    if (!streams_) lay(to_ + at, x_ + at, o, n, piece, pieces, offset);
    at_ = at + n;
  }

  void finish(int64_t end) {
    own(end);
    if (streams_) stream_.flush();
  }

 private:
  static constexpr int64_t MOST = BLOCK / static_cast<int64_t>(sizeof(T<E>));

  // offset: of these elements in the piece
  static void lay(T<E>* to, const T<E>* x, const T<E>* o, int64_t n, const Piece& piece,
                  const Pieces<E>& pieces, int64_t offset) {
    if (piece.kind == EACH)
      weigh<E>(to, x, o, 1, pieces.weights + piece.at + offset, n);
    else if (piece.kind == SOME)
      select<E>(to, x, o, piece.weight, pieces.bits + piece.at + offset, n);
    else if (piece.weight == 1)
      copy<E>(to, o, n);
    else
      blend<E>(to, x, o, piece.weight, n);
  }
  void put(const T<E>* from, int64_t n) {
    stream_.put(reinterpret_cast<const char*>(from), n * static_cast<int64_t>(sizeof(T<E>)));
  }

  T<E>* to_;
  const T<E>* x_;
  int64_t at_;
  bool in_place_, streams_;
  Stream stream_;
  alignas(64) T<E> block_[MOST];
};

template <class E>
void paste_shaped(const Job& job, int32_t row, const T<E>* o, Tap* taps, int64_t begin,
                  int64_t end) {
  T<E>* out = as<E>(job.out[row]);
  const T<E>* x = as<E>(job.x[row]);
  const Lines lines(job, row);
  Stretched<E> stretched(job, lines, row, taps);
  if (job.opacity[row] == 0 || lines.none || stretched.empty)
    return Writer<E>(job, out, x, begin).finish(end);
  const int64_t body = lines.body, bodies = job.cells / body;
  // what this thread has to do: a part of the one body, or of each
  const Run part = bodies == 1 ? Run{begin, end} : Run{0, body};
  for (Pieces<E> pieces(job, lines, row, part.begin, part.end); !pieces.done;) {
    pieces.next();
    for (int64_t base = 0; base < job.cells; base += body) {
      const int64_t low = base + pieces.begin > begin ? base + pieces.begin : begin;
      const int64_t high = base + pieces.end < end ? base + pieces.end : end;
      if (low >= high) continue;
      Writer<E> writer(job, out, x, low);
      for (int64_t k = 0; k < pieces.count; k++) {
        const Piece& piece = pieces.piece[k];
        int64_t at = base + piece.begin > low ? base + piece.begin : low;
        const int64_t until = base + piece.end < high ? base + piece.end : high;
        for (int64_t n = until - at; at < until; at += n) {
          const T<E>* theirs =
              job.source ? stretched.over(o + base, at - base, until - base, &n) : o + at;
          writer.paste(at, theirs, n, piece, pieces, at - base - piece.begin);
        }
      }
      writer.finish(high);
    }
  }
}

// Whether a source has as many cells as its box on every axis: then it is no more than moved, so
// many elements `far`. Not where lines are short: these are read whole, and beside a source there
// may be nothing.
inline bool is_moved(const Job& job, int64_t row, int64_t* far) {
  for (int m = 0; m < job.rank; m++) {
    if (job.axis[m] >= 0 && job.n[m] * job.stride[m] <= LINE) return false;
    const Run to = ends(job, job.box, row, m), from = ends(job, job.source, row, m);
    if (to.end - to.begin != from.end - from.begin) return false;
    *far += (from.begin - to.begin) * job.stride[m];
  }
  return true;
}

template <class E>
void paste_rows(const Job& job, const Visit* visits, int64_t count, char* kept, Tap* taps,
                int64_t begin, int64_t end) {
  for (int64_t k = 0; k < count; k++) {
    const Visit v = visits[k];
    const T<E>* o = as<E>(v.from);
    if (v.step == KEEP) copy<E>(as<E>(kept) + begin, as<E>(job.x[v.row]) + begin, end - begin);
    int64_t far = 0;
    if (v.step == PAIR)
      paste_pair<E>(job, v.row, v.partner, begin, end);
    else if (job.source && !job.mask && is_moved(job, v.row, &far))
      paste_row<E>(job, v.row, o + far, begin, end);
    else if (job.mask || job.source)
      paste_shaped<E>(job, v.row, o, taps, begin, end);
    else
      paste_row<E>(job, v.row, o, begin, end);
  }
  fence();
}

}  // namespace
