// Which thread does what, and the choice of an instruction set.
#include "kernel.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

#include "order.h"

namespace {

// Memory that is written before it is read.
template <class Item = char>
std::unique_ptr<Item[]> memory(int64_t count) {
  return std::unique_ptr<Item[]>(count ? new Item[static_cast<size_t>(count)] : nullptr);
}

// Taps that a thread needs.
int64_t taps_of(const Job& job) {
  int64_t most = 0;
  for (int k = 0; k < job.axes && job.source; k++) most = std::max(most, job.size[k]);
  return most;
}

// Call work(0) .. work(count - 1), each in a thread, the last one in this one. Threads live for one
// call: none is there to be lost in a fork, none spins beside the framework's own.
template <class Work>
void in_threads(int64_t count, Work work) {
  std::vector<std::thread> others;
  int64_t started = 0;
  try {
    for (; started < count - 1; started++) others.emplace_back(work, started);
  } catch (...) {  // no more threads to be had: their parts are done here
  }
  for (int64_t k = started; k < count; k++) work(k);
  for (auto& thread : others) thread.join();
}

// Elements that stay together when rows are divided: a line that is blended whole, or one cell of a
// mask.
int64_t grain_of(const Job& job) {
  int64_t grain = 0;
  for (int m = job.rank - 1; m >= 0; m--) {
    if (job.axis[m] < 0) continue;
    if (job.mask) return job.stride[m];
    if (!grain) grain = job.source ? job.stride[m] : 1;
    const int64_t line = job.n[m] * job.stride[m];
    if (line <= LINE) grain = line;
  }
  return std::max<int64_t>(grain, 1);
}

// Each thread has a range of cells, the same of every row.
void by_cells(const Job& job, std::vector<Visit>& order, int threads) {
  bool keeps = false;
  for (const Visit& v : order) keeps = keeps || v.step == KEEP;
  const auto kept = memory(keeps ? job.cells * job.item : 0);
  for (Visit& v : order) v.from = v.step == LAST ? kept.get() : job.other[v.row];
  const int64_t grain = grain_of(job);
  const int64_t unit = grain * std::max<int64_t>(1, 64 / job.item / grain);
  const int64_t units = (job.cells + unit - 1) / unit;
  const int64_t count = std::min<int64_t>(threads, units), most = taps_of(job);
  const auto taps = memory<Tap>(count * most);
  in_threads(count, [&](int64_t k) {
    const int64_t begin = units * k / count * unit;
    const int64_t end = std::min(job.cells, units * (k + 1) / count * unit);
    kernels().paste(job, order.data(), static_cast<int64_t>(order.size()), kept.get(),
                    taps.get() + k * most, begin, end);
  });
}

// Each thread has a range of the order. A row that is written in one and read in another is copied
// before they start; where that were many, there is one thread.
void by_rows(const Job& job, std::vector<Visit>& order, int threads) {
  const auto rows = static_cast<int64_t>(order.size()), count = std::min<int64_t>(threads, rows);
  const int64_t bytes = job.cells * job.item;
  std::vector<int64_t> part(order.size()), copied(order.size(), -1);
  for (int64_t k = 0; k < count; k++)
    for (int64_t at = rows * k / count; at < rows * (k + 1) / count; at++) part[order[at].row] = k;
  std::vector<int32_t> shared;
  for (const Visit& v : order) {
    if (part[v.row] == part[v.partner] || copied[v.partner] >= 0) continue;
    copied[v.partner] = static_cast<int64_t>(shared.size());
    shared.push_back(v.partner);
  }
  if (static_cast<int64_t>(shared.size()) > 2 * count) return by_rows(job, order, 1);
  const int64_t most = taps_of(job);
  const auto kept = memory(count * bytes);
  const auto taps = memory<Tap>(count * most);
  const auto copies = memory(static_cast<int64_t>(shared.size()) * bytes);
  for (const int32_t row : shared)
    memcpy(copies.get() + copied[row] * bytes, job.x[row], static_cast<size_t>(bytes));
  for (Visit& v : order) {
    v.from = v.step == LAST ? kept.get() + part[v.row] * bytes : job.other[v.row];
    if (part[v.row] != part[v.partner]) v.from = copies.get() + copied[v.partner] * bytes;
  }
  in_threads(count, [&](int64_t k) {
    const int64_t begin = rows * k / count, end = rows * (k + 1) / count;
    kernels().paste(job, order.data() + begin, end - begin, kept.get() + k * bytes,
                    taps.get() + k * most, 0, job.cells);
  });
}

std::atomic<const Kernels*> chosen{nullptr};

}  // namespace

void run(const Job& job, const int32_t* partner, int64_t rows, bool own_partners, int threads) {
  const bool shaped = job.mask || job.source, in_place = job.in_place && own_partners;
  const Writes writes = !own_partners ? ELSEWHERE
                        : !in_place   ? APART
                        : shaped      ? IN_PLACE
                                      : IN_PLACE_BY_PAIRS;
  std::vector<Visit> order = order_of(partner, job.opacity, rows, writes);
  // cells of a source are not those that are written, so that ranges of cells are not independent
  if (in_place && job.source)
    by_rows(job, order, std::max(threads, 1));
  else
    by_cells(job, order, std::max(threads, 1));
}

void run(const Normalize& job, int64_t rows, int threads) {
  const std::vector<Visit> order = order_of(job.partner, job.opacity, rows, APART);
  const int64_t count = std::max<int64_t>(1, std::min<int64_t>(threads, rows));
  in_threads(count, [&](int64_t k) {
    const int64_t begin = rows * k / count, end = rows * (k + 1) / count;
    kernels().normalize(job, order.data() + begin, end - begin);
  });
}

const Kernels& kernels() {
  if (!chosen) choose("");
  return *chosen;
}

bool choose(const char* name) {
  const Kernels* found[3] = {&kernels_baseline, nullptr, nullptr};
#ifdef BATCHMIX_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c")) found[1] = &kernels_avx2;
  if (found[1] && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    found[2] = &kernels_avx512;
#endif
  for (int k = 2; k >= 0; k--) {
    if (found[k] && (!*name || !strcmp(name, found[k]->name))) {
      chosen = found[k];
      return true;
    }
  }
  return false;
}
