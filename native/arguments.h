// What Python hands over: every length, address and index is checked here.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>

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

// Address of the first row, bytes from one to the next, and how many there are.
struct Memory {
  long long first, stride, count;
  bool operator==(const Memory& other) const {
    return first == other.first && stride == other.stride;
  }
};

// Where each row begins.
struct Rows {
  std::vector<char*> at;
  char* const* out() const { return at.data(); }
  const char* const* in() const { return at.data(); }

  // as many rows as the plan has, `stride` bytes apart
  bool lie(const Memory& memory, int64_t rows) {
    const auto [first, stride, count] = memory;
    if (count != rows) return refuse("the plan has another number of rows");
    if (!first && rows) return refuse("no memory at this address");
    at.resize(static_cast<size_t>(rows));
    for (int64_t k = 0; k < rows; k++)
      at[k] = reinterpret_cast<char*>(static_cast<uintptr_t>(first) +
                                      static_cast<uintptr_t>(k * stride));
    return true;
  }
  // rows at addresses of their own
  bool lie_at(const View& addresses, int64_t rows) {
    if (!addresses.holds(rows, 8)) return refuse("lengths do not fit");
    for (int64_t k = 0; k < rows; k++) {
      if (!addresses.at<int64_t>()[k]) return refuse("no memory at this address");
      at.push_back(reinterpret_cast<char*>(static_cast<uintptr_t>(addresses.at<int64_t>()[k])));
    }
    return true;
  }
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
  View partner, box, opacity, mask, source;
  std::vector<int32_t> partners, boxes, sources;
  std::vector<float> masked;  // opacities, where the mask has one cell per row
  int64_t rows() const { return partner.len / 4; }

  bool set(Job& job) {
    int64_t cells = 1;
    for (int k = 0; k < job.axes; k++) cells *= job.size[k];
    const int64_t ends = rows() * job.axes * 2;
    if (!partner.holds(rows(), 4) || !opacity.holds(rows(), 4) || (ends && !box.holds(ends, 4)) ||
        (mask.buf && !mask.holds(rows() * cells, 4)) || (source.buf && !source.holds(ends, 4)))
      return refuse("lengths do not fit");
    partners = partner.copied();
    boxes = box.copied();
    sources = source.copied();
    if (!in_range(partners.data(), rows(), rows())) return refuse("partner out of range");
    if (!inside(boxes.data(), rows(), job.axes, job.size) ||
        (source.buf && !inside(sources.data(), rows(), job.axes, job.size)))
      return refuse("box out of range");
    job.box = boxes.data();
    job.opacity = opacity.at<float>();
    if (job.axes) {
      job.mask = mask.at<float>();
      job.source = source.buf ? sources.data() : nullptr;
    } else if (mask.buf) {
      for (int64_t k = 0; k < rows(); k++) masked.push_back(job.opacity[k] * mask.at<float>()[k]);
      job.opacity = masked.data();
    }
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
