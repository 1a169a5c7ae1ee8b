// The module batchmix.backends._kernel: checks every length and index, then runs without the GIL.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <new>

#include "kernel.h"

namespace {

// A buffer that is released at the end of the call.
struct View : Py_buffer {
  View() { obj = nullptr; buf = nullptr; len = 0; }
  ~View() { if (obj) PyBuffer_Release(this); }
  View(const View&) = delete;
  template <class N> const N* at() const { return static_cast<const N*>(buf); }
  bool holds(int64_t count, int64_t item) const { return buf && len == count * item; }
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
bool inside(const int32_t* box, int64_t rows, int axes, const int64_t* size) {
  for (int64_t k = 0; k < rows * axes; k++) {
    const int32_t lo = box[2 * k], hi = box[2 * k + 1];
    if (lo < 0 || hi < lo || hi > size[k % axes]) return false;
  }
  return true;
}

// Cells and plan axis of each row axis, in the order of memory: [rank, 2] int64.
bool set_axes(Job& job, const View& axes) {
  job.rank = static_cast<int>(axes.len / 16);
  if (job.rank < 1 || job.rank > MAX_AXES || !axes.holds(job.rank * 2, 8))
    return refuse("1 to 8 axes are needed");
  job.cells = 1;
  job.axes = 0;
  for (int m = job.rank - 1; m >= 0; m--) {
    job.n[m] = axes.at<int64_t>()[2 * m];
    job.axis[m] = static_cast<int>(axes.at<int64_t>()[2 * m + 1]);
    if (job.n[m] < 0 || job.axis[m] < -1 || job.axis[m] >= MAX_AXES) return refuse("bad axes");
    job.stride[m] = job.cells;
    job.cells *= job.n[m];
    if (job.axis[m] >= 0) {
      job.axes++;
      job.size[job.axis[m]] = job.n[m];
    }
  }
  for (int k = 0, seen; k < job.axes; k++) {
    seen = 0;
    for (int m = 0; m < job.rank; m++) seen += job.axis[m] == k;
    if (seen != 1) return refuse("each axis of the plan is one axis of the row");
  }
  return true;
}

PyObject* py_mix(PyObject*, PyObject* args) {
  View out, x, other, axes, partner, box, blend, mask, source;
  int type, in_place, own_partners, stream, threads;
  if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*z*z*ippii", &out, &x, &other, &axes, &partner, &box,
                        &blend, &mask, &source, &type, &in_place, &own_partners, &stream, &threads))
    return nullptr;
  static const int64_t item[TYPES] = {8, 4, 2, 2, 1, 1, 2, 2};
  if (type < 0 || type >= TYPES) return refuse("unknown type"), nullptr;
  Job job{};
  if (!set_axes(job, axes)) return nullptr;
  const int64_t rows = partner.len / 4;
  int64_t plan_cells = 1;
  for (int k = 0; k < job.axes; k++) plan_cells *= job.size[k];
  const bool lengths = out.holds(rows, 8) && x.holds(rows, 8) && other.holds(rows, 8) &&
                       partner.holds(rows, 4) && blend.holds(rows, 4) &&
                       (job.axes == 0 || box.holds(rows * job.axes * 2, 4)) &&
                       (!mask.buf || mask.holds(rows * plan_cells, 4)) &&
                       (!source.buf || source.holds(rows * job.axes * 2, 4));
  if (!lengths) return refuse("lengths do not fit"), nullptr;
  if (!in_range(partner.at<int32_t>(), rows, rows)) return refuse("partner out of range"), nullptr;
  if (!inside(box.at<int32_t>(), rows, job.axes, job.size) ||
      (source.buf && !inside(source.at<int32_t>(), rows, job.axes, job.size)))
    return refuse("box out of range"), nullptr;
  job.type = static_cast<Type>(type);
  job.item = item[type];
  job.out = static_cast<char* const*>(out.buf);
  job.x = static_cast<const char* const*>(x.buf);
  job.other = static_cast<const char* const*>(other.buf);
  job.box = box.at<int32_t>();
  job.source = source.at<int32_t>();
  job.mask = mask.at<float>();
  job.blend = blend.at<float>();
  job.in_place = in_place;
  job.stream = stream;
  bool enough = true;
  Py_BEGIN_ALLOW_THREADS
  try {
    if (job.cells) run(job, partner.at<int32_t>(), rows, own_partners, threads);
  } catch (const std::bad_alloc&) {
    enough = false;
  }
  Py_END_ALLOW_THREADS
  if (!enough) return PyErr_NoMemory();
  Py_RETURN_NONE;
}

PyObject* py_widen(PyObject*, PyObject* args) {
  View out, x, partner, box, blend, scale, bias;
  Widen job{};
  int type, stream, threads;
  long long height, width, channels;
  if (!PyArg_ParseTuple(args, "y*y*LLLy*y*y*y*y*ipi", &out, &x, &height, &width, &channels, &partner,
                        &box, &blend, &scale, &bias, &type, &stream, &threads))
    return nullptr;
  const int64_t rows = partner.len / 4, size[2] = {height, width};
  if (type != F32 && type != F16 && type != BF16) return refuse("unknown type"), nullptr;
  if (height < 1 || width < 1 || channels < 1 || channels > 16) return refuse("bad shape"), nullptr;
  if (!out.holds(rows, 8) || !x.holds(rows, 8) || !partner.holds(rows, 4) ||
      !box.holds(rows * 4, 4) || !blend.holds(rows, 4) || !scale.holds(channels, 4) ||
      !bias.holds(channels, 4))
    return refuse("lengths do not fit"), nullptr;
  if (!in_range(partner.at<int32_t>(), rows, rows)) return refuse("partner out of range"), nullptr;
  if (!inside(box.at<int32_t>(), rows, 2, size)) return refuse("box out of range"), nullptr;
  job = {static_cast<Type>(type), static_cast<char* const*>(out.buf),
         static_cast<const uint8_t* const*>(x.buf), height, width, channels, box.at<int32_t>(),
         partner.at<int32_t>(), blend.at<float>(), scale.at<float>(), bias.at<float>(),
         stream != 0};
  bool enough = true;
  Py_BEGIN_ALLOW_THREADS
  try {
    run(job, rows, threads);
  } catch (const std::bad_alloc&) {
    enough = false;
  }
  Py_END_ALLOW_THREADS
  if (!enough) return PyErr_NoMemory();
  Py_RETURN_NONE;
}

PyObject* py_stream_copy(PyObject*, PyObject* args) {
  Py_buffer to;
  View from;
  if (!PyArg_ParseTuple(args, "w*y*", &to, &from)) return nullptr;
  const bool fits = to.len == from.len;
  if (fits) {
    Py_BEGIN_ALLOW_THREADS
    kernels().stream_copy(static_cast<char*>(to.buf), from.at<char>(), to.len);
    Py_END_ALLOW_THREADS
  }
  PyBuffer_Release(&to);
  if (!fits) return refuse("lengths do not fit"), nullptr;
  Py_RETURN_NONE;
}

PyObject* py_choose(PyObject*, PyObject* args) {
  const char* name;
  if (!PyArg_ParseTuple(args, "s", &name)) return nullptr;
  return PyBool_FromLong(choose(name));
}

PyObject* py_name(PyObject*, PyObject*) { return PyUnicode_FromString(kernels().name); }

PyMethodDef methods[] = {
    {"mix", py_mix, METH_VARARGS, "Execute a plan on rows given by their addresses."},
    {"widen", py_widen, METH_VARARGS, "Mix and normalise uint8 rows."},
    {"stream_copy", py_stream_copy, METH_VARARGS, "Copy past the cache, in one thread."},
    {"choose", py_choose, METH_VARARGS, "Choose an instruction set by name; False if not there."},
    {"name", py_name, METH_NOARGS, "The instruction set in use."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernel", "Native kernel of batchmix.", -1, methods,
                      nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__kernel() { return PyModule_Create(&module); }
