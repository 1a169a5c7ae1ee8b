// What Python hands over: every length, address and index is checked here.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "job.h"
#include "labels.h"

namespace {

// A buffer that is released at the end of the call.
struct View : Py_buffer {
  View() {
    obj = nullptr;
    buf = nullptr;
    len = 0;
  }
  ~View() {
    if (obj) PyBuffer_Release(this);
  }
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  template <class N>
  const N* at() const {
    return static_cast<const N*>(buf);
  }
  bool holds(int64_t count, int64_t item) const { return buf && len == count * item; }
  // what is checked is then what is used, whoever writes to a plan meanwhile
  std::vector<int32_t> copied() const { return {at<int32_t>(), at<int32_t>() + len / 4}; }
};

bool refuse(const char* what) {
  PyErr_Format(PyExc_ValueError, "batchmix kernel: %s", what);
  return false;
}

bool in_range(const int32_t* v, int64_t count, int64_t limit) {
  for (int64_t k = 0; k < count; k++)
    if (v[k] < 0 || v[k] >= limit) return false;
  return true;
}

// [rows, axes, 2]: 0 <= lo <= hi <= size
bool inside(const int32_t* regions, int64_t rows, int axes, const int64_t* size) {
  for (int64_t row = 0; row < rows; row++)
    for (int k = 0; k < axes; k++, regions += 2)
      if (regions[0] < 0 || regions[1] < regions[0] || regions[1] > size[k]) return false;
  return true;
}

// Rows in memory: `stride` bytes apart, or each at an address of its own.
class Rows {
 public:
  int64_t count = 0;

  // (address of the first, bytes from one to the next, count), or addresses as int64
  bool read(PyObject* given) {
    if (PyTuple_Check(given)) {
      long long first, stride, rows;
      if (!PyArg_ParseTuple(given, "LLL", &first, &stride, &rows)) return false;
      if (rows < 0) return refuse("lengths do not fit");
      first_ = static_cast<uintptr_t>(first);
      stride_ = stride;
      count = rows;
      return true;
    }
    View addresses;
    if (PyObject_GetBuffer(given, &addresses, PyBUF_SIMPLE)) return false;
    count = addresses.len / 8;
    if (addresses.len % 8) return refuse("lengths do not fit");
    apart_.resize(static_cast<size_t>(count));
    for (int64_t k = 0; k < count; k++)
      apart_[k] = static_cast<uintptr_t>(addresses.at<int64_t>()[k]);
    return true;
  }

  // where the rows `index` begin, or all of them
  bool at(const int32_t* index, int64_t rows, std::vector<char*>& found) const {
    for (int64_t k = 0; k < rows; k++) {
      const uintptr_t at = row(index ? index[k] : k);
      if (!at) return refuse("no memory at this address");
      found.push_back(reinterpret_cast<char*>(at));
    }
    return true;
  }

  bool operator==(const Rows& other) const {
    if (count != other.count) return false;
    if (apart_.empty() && other.apart_.empty())
      return first_ == other.first_ && (count < 2 || stride_ == other.stride_);
    for (int64_t k = 0; k < count; k++)
      if (row(k) != other.row(k)) return false;
    return true;
  }

 private:
  uintptr_t row(int64_t k) const {
    if (!apart_.empty()) return apart_[k];
    return first_ ? first_ + static_cast<uintptr_t>(k) * static_cast<uintptr_t>(stride_) : 0;
  }

  uintptr_t first_ = 0;
  int64_t stride_ = 0;
  std::vector<uintptr_t> apart_;
};

// Cells and plan axis of each row axis, in the order of memory: [rank, 2] int64.
bool set_axes(Job& job, const View& axes) {
  if (axes.len < 16 || axes.len > 16 * MAX_AXES || axes.len % 16)
    return refuse("1 to 8 axes are needed");
  job.rank = static_cast<int>(axes.len / 16);
  job.cells = 1;
  for (int m = job.rank - 1; m >= 0; m--) {
    const int64_t n = axes.at<int64_t>()[2 * m], axis = axes.at<int64_t>()[2 * m + 1];
    if (n < 0 || axis < -1 || axis >= MAX_AXES) return refuse("bad axes");
    if (n && job.cells > INT64_MAX / 8 / n) return refuse("too many cells");
    job.n[m] = n;
    job.axis[m] = static_cast<int>(axis);
    job.stride[m] = job.cells;
    job.cells *= n;
    if (axis >= 0) {
      job.axes++;
      job.size[axis] = n;
    }
  }
  for (int k = 0; k < job.axes; k++) {
    int seen = 0;
    for (int m = 0; m < job.rank; m++) seen += job.axis[m] == k;
    if (seen != 1) return refuse("each axis of the plan is one axis of the row");
  }
  return true;
}

// The columns of a plan.
struct Columns {
  View partner, box, opacity, mask, grid, source;
  int bilinear;
  std::vector<int32_t> partners, boxes, sources;
  std::vector<float> masked;  // opacities, where the mask has one cell per row
  int64_t rows() const { return partner.len / 4; }

  // for partners among `others` rows
  bool set(Job& job, int64_t others) {
    const int64_t ends = rows() * job.axes * 2;
    if (!partner.holds(rows(), 4) || !opacity.holds(rows(), 4) || (ends && !box.holds(ends, 4)) ||
        (source.buf && !source.holds(ends, 4)))
      return refuse("lengths do not fit");
    partners = partner.copied();
    boxes = box.copied();
    sources = source.copied();
    if (!in_range(partners.data(), rows(), others)) return refuse("partner out of range");
    if (!inside(boxes.data(), rows(), job.axes, job.size) ||
        (source.buf && !inside(sources.data(), rows(), job.axes, job.size)))
      return refuse("box out of range");
    job.box = boxes.data();
    job.opacity = opacity.at<float>();
    if (mask.buf && !set_mask(job)) return false;
    if (!job.axes || !source.buf) return true;
    job.source = sources.data();
    job.parts = bilinear ? int64_t{1} << (16 / job.axes) : 0;
    return true;
  }

 private:
  bool set_mask(Job& job) {
    int64_t cells = std::max<int64_t>(rows(), 1);
    if (job.axes && !grid.holds(job.axes, 8)) return refuse("lengths do not fit");
    for (int k = 0; k < job.axes; k++) {
      job.grid[k] = grid.at<int64_t>()[k];
      if (job.grid[k] < 1 || job.grid[k] > job.size[k]) return refuse("mask out of range");
      if (cells > INT64_MAX / 8 / job.grid[k]) return refuse("too many cells");
      cells *= job.grid[k];
    }
    job.mask_item = mask.itemsize;
    if ((mask.itemsize != 1 && mask.itemsize != 4) ||
        !mask.holds(rows() ? cells : 0, mask.itemsize))
      return refuse("lengths do not fit");
    if (job.axes) {
      job.mask = mask.buf;
      return true;
    }
    for (int64_t k = 0; k < rows(); k++) {
      const float share = mask.itemsize == 4 ? mask.at<float>()[k]
                                             : static_cast<float>(mask.at<uint8_t>()[k]) / 255.0f;
      masked.push_back(job.opacity[k] * share);
    }
    job.opacity = masked.data();
    return true;
  }
};

bool set_type(Job& job, int type) {
  static const int64_t item[TYPES] = {8, 4, 2, 2, 1, 1, 2, 2};
  if (type < 0 || type >= TYPES) return refuse("unknown type");
  job.type = static_cast<Type>(type);
  job.item = item[type];
  return true;
}

// An array [rows] of one of the item codes of `kinds`, aligned or not; false without an error.
bool vector_of(PyObject* object, const char* kinds, View& view) {
  if (PyObject_GetBuffer(object, &view, PyBUF_STRIDES | PyBUF_FORMAT)) {
    PyErr_Clear();
    return false;
  }
  const char* format = view.format ? view.format : "B";
  return view.ndim == 1 && format[0] && !format[1] && strchr(kinds, format[0]);
}

Ids ids_of(const View& view) {
  const bool is_signed = view.format && strchr("bhilq", view.format[0]);
  return {view.at<char>(), view.shape[0], view.strides[0], view.itemsize, is_signed};
}

bool dense(const View& view, int64_t count) {
  return view.itemsize == 4 && view.shape[0] == count && (count < 2 || view.strides[0] == 4);
}

}  // namespace
