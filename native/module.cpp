// The module batchmix.backends._kernel: arguments are checked, then work is done without the GIL.
#include <new>

#include "arguments.h"
#include "kernel.h"
#include "plan.h"

namespace {

// Calls work() without the GIL; None, or MemoryError.
template <class Work>
PyObject* without_gil(Work work) {
  bool enough = true;
  PyThreadState* state = PyEval_SaveThread();
  try {
    work();
  } catch (const std::bad_alloc&) {
    enough = false;
  }
  PyEval_RestoreThread(state);
  if (!enough) return PyErr_NoMemory();
  Py_RETURN_NONE;
}

PyObject* py_paste(PyObject*, PyObject* args) {
  PyObject *to, *own, *theirs;
  View axes;
  Columns plan;
  int type, stream, threads;
  if (!PyArg_ParseTuple(args, "OOOy*y*y*y*z*y*z*pipi", &to, &own, &theirs, &axes, &plan.partner,
                        &plan.box, &plan.opacity, &plan.mask, &plan.grid, &plan.source,
                        &plan.bilinear, &type, &stream, &threads))
    return nullptr;
  Job job{};
  Rows out, x, other;
  if (!out.read(to) || !x.read(own) || !other.read(theirs)) return nullptr;
  if (!set_type(job, type) || !set_axes(job, axes) || !plan.set(job, other.count)) return nullptr;
  const int64_t rows = plan.rows();
  if (out.count != rows || x.count != rows)
    return refuse("the plan has another number of rows"), nullptr;
  if (!job.cells) Py_RETURN_NONE;
  std::vector<char*> outs, owns, partners;
  if (!out.at(nullptr, rows, outs) || !x.at(nullptr, rows, owns) ||
      !other.at(plan.partners.data(), rows, partners))
    return nullptr;
  job.out = outs.data();
  job.x = owns.data();
  job.other = partners.data();
  job.rows = rows;
  job.in_place = out == x;
  job.stream = stream;
  return without_gil([&] { run(job, plan.partners.data(), rows, x == other, threads); });
}

PyObject* py_mix_normalize(PyObject*, PyObject* args) {
  PyObject *to, *rows;
  View partner, box, opacity, scale, bias;
  int type, stream, threads;
  long long height, width, channels;
  if (!PyArg_ParseTuple(args, "OOLLLy*y*y*y*y*ipi", &to, &rows, &height, &width, &channels,
                        &partner, &box, &opacity, &scale, &bias, &type, &stream, &threads))
    return nullptr;
  const int64_t count = partner.len / 4, size[2] = {height, width};
  if (type != F32 && type != F16 && type != BF16) return refuse("unknown type"), nullptr;
  if (height < 1 || width < 1 || channels < 1 || channels > MAX_CHANNELS ||
      height > INT64_MAX / 64 / width / channels)
    return refuse("bad shape"), nullptr;
  if (!partner.holds(count, 4) || !box.holds(count * 4, 4) || !opacity.holds(count, 4) ||
      !scale.holds(channels, 4) || !bias.holds(channels, 4))
    return refuse("lengths do not fit"), nullptr;
  const auto partners = partner.copied(), boxes = box.copied();
  if (!in_range(partners.data(), count, count)) return refuse("partner out of range"), nullptr;
  if (!inside(boxes.data(), count, 2, size)) return refuse("box out of range"), nullptr;
  Rows out, x;
  if (!out.read(to) || !x.read(rows)) return nullptr;
  if (out.count != count || x.count != count)
    return refuse("the plan has another number of rows"), nullptr;
  std::vector<char*> outs, owns;
  if (!out.at(nullptr, count, outs) || !x.at(nullptr, count, owns)) return nullptr;
  Normalize job{};
  job.type = static_cast<Type>(type);
  job.out = outs.data();
  job.x = reinterpret_cast<const uint8_t* const*>(owns.data());
  job.height = height;
  job.width = width;
  job.channels = channels;
  job.box = boxes.data();
  job.partner = partners.data();
  job.opacity = opacity.at<float>();
  job.scale = scale.at<float>();
  job.bias = bias.at<float>();
  job.stream = stream;
  return without_gil([&] { run(job, count, threads); });
}

PyObject* py_mix_labels(PyObject*, PyObject* args) {
  View target, y, other, partner, lam;
  PyObject* from[4];
  Py_ssize_t classes;
  double off, on;
  if (!PyArg_ParseTuple(args, "w*OOOOndd", &target, &from[0], &from[1], &from[2], &from[3],
                        &classes, &off, &on))
    return nullptr;
  if (!vector_of(from[0], "bhilqBHILQ", y) || !vector_of(from[1], "bhilqBHILQ", other) ||
      !vector_of(from[2], "il", partner) || !vector_of(from[3], "f", lam))
    Py_RETURN_FALSE;
  Labels job{ids_of(y), ids_of(other),           partner.at<int32_t>(), lam.at<float>(),
             classes,   static_cast<float>(off), static_cast<float>(on)};
  const int64_t rows = job.y.count;
  if (!dense(partner, rows) || !dense(lam, rows)) Py_RETURN_FALSE;
  if (classes < 1 || rows > INT64_MAX / 4 / classes || !target.holds(rows * classes, 4))
    return refuse("lengths do not fit"), nullptr;
  if (!in_range(job.partner, rows, job.other.count)) return refuse("partner out of range"), nullptr;
  // microseconds: the GIL would take longer to come back
  return PyBool_FromLong(mix_labels(job, static_cast<float*>(target.buf)));
}

PyObject* py_execute(PyObject*, PyObject* args) {
  View partner, box, given, size, out;
  double lattice;
  if (!PyArg_ParseTuple(args, "y*y*y*y*dw*", &partner, &box, &given, &size, &lattice, &out))
    return nullptr;
  const int64_t rows = partner.len / 4, axes = size.len / 8, ends = rows * axes * 2;
  if (axes > MAX_AXES || !partner.holds(rows, 4) || (ends && !box.holds(ends, 4)) ||
      !given.holds(rows, 8) || !out.holds(2 * rows, 4))
    return refuse("lengths do not fit"), nullptr;
  float* opacity = static_cast<float*>(out.buf);
  return PyBool_FromLong(execute(partner.at<int32_t>(), box.at<int32_t>(), given.at<double>(), rows,
                                 static_cast<int>(axes), size.at<int64_t>(), lattice, opacity,
                                 opacity + rows));
}

PyObject* py_seen(PyObject*, PyObject* args) {
  View box, opacity, size, out;
  int layers;
  if (!PyArg_ParseTuple(args, "y*y*y*iw*", &box, &opacity, &size, &layers, &out)) return nullptr;
  if (layers < 1 || layers > MAX_LAYERS) return refuse("1 to 16 layers"), nullptr;
  const int64_t axes = size.len / 8, rows = opacity.len / 4 / layers, ends = rows * axes * 2;
  if (axes < 1 || axes > MAX_AXES || !size.holds(axes, 8) || !opacity.holds(rows * layers, 4) ||
      (ends && !box.holds(ends * layers, 4)) || !out.holds(rows * (layers + 1), 8))
    return refuse("lengths do not fit"), nullptr;
  seen(box.at<int32_t>(), opacity.at<float>(), layers, rows, static_cast<int>(axes),
       size.at<int64_t>(), static_cast<double*>(out.buf));
  Py_RETURN_NONE;
}

PyObject* py_stream_copy(PyObject*, PyObject* args) {
  View to, from;
  if (!PyArg_ParseTuple(args, "w*y*", &to, &from)) return nullptr;
  if (to.len != from.len) return refuse("lengths do not fit"), nullptr;
  return without_gil(
      [&] { kernels().stream_copy(static_cast<char*>(to.buf), from.at<char>(), to.len); });
}

PyObject* py_choose(PyObject*, PyObject* args) {
  const char* name;
  if (!PyArg_ParseTuple(args, "s", &name)) return nullptr;
  return PyBool_FromLong(choose(name));
}

PyObject* py_name(PyObject*, PyObject*) { return PyUnicode_FromString(kernels().name); }

PyMethodDef methods[] = {
    {"paste", py_paste, METH_VARARGS, "Execute a plan on a batch."},
    {"mix_normalize", py_mix_normalize, METH_VARARGS, "Mix and normalise uint8 rows."},
    {"mix_labels", py_mix_labels, METH_VARARGS, "Ids to soft labels; False where it cannot."},
    {"execute", py_execute, METH_VARARGS, "Opacities as executed, and lam; False where it cannot."},
    {"seen", py_seen, METH_VARARGS, "Shares that are seen of a row and of each layer."},
    {"stream_copy", py_stream_copy, METH_VARARGS, "Copy past the cache, in one thread."},
    {"choose", py_choose, METH_VARARGS, "Choose an instruction set by name; False if not there."},
    {"name", py_name, METH_NOARGS, "The instruction set in use."},
    {nullptr, nullptr, 0, nullptr}};

int set_up(PyObject* module) {
  return PyModule_AddIntConstant(module, "MAX_CHANNELS", MAX_CHANNELS);
}

PyModuleDef_Slot slots[] = {{Py_mod_exec, reinterpret_cast<void*>(set_up)},
#ifdef Py_GIL_DISABLED
                            {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
                            {0, nullptr}};

PyModuleDef module = {PyModuleDef_HEAD_INIT,
                      "_kernel",
                      "Native kernel of batchmix.",
                      0,
                      methods,
                      slots,
                      nullptr,
                      nullptr,
                      nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__kernel() { return PyModuleDef_Init(&module); }
