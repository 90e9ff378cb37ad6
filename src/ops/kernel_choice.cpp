#include "ops/kernel_choice.h"

#include "base/check.h"
#include "base/cpu_features.h"
#include "ops/linear_scratch.h"

namespace awq::ops {
namespace {

constexpr const char* kNotAllowed = "the processor or --isa does not allow it";

bool allowed(std::uint8_t min_isa) { return min_isa <= static_cast<std::uint8_t>(active_isa()); }

/// Collects rows; the first without an objection is the choice, and later ones lose to it.
class Choices {
 public:
  void add(const char* name, std::string objection) {
    if (objection.empty() && chosen_) objection = "a row before it runs";
    chosen_ = chosen_ || objection.empty();
    rows_.push_back({name, std::move(objection)});
  }
  std::vector<KernelChoice> take() {
    AWQ_CHECK(chosen_);
    return std::move(rows_);
  }

 private:
  std::vector<KernelChoice> rows_;
  bool chosen_ = false;
};

std::string most_rows(std::int64_t m, std::int64_t most) {
  return m > most ? fmt::format("takes at most {} rows", most) : std::string();
}

void add_integer(Choices& out, int bits, int planes, std::int64_t m) {
  for (const kernels::PackedKernel* row = kernels::packed_kernels_cpu(); row->name != nullptr; ++row) {
    if (row->bits != bits || row->planes != planes) continue;
    const char* objection = packed_objection(*row);
    std::string reason = objection != nullptr ? objection : "";
    if (reason.empty() && m < row->min_rows) reason = fmt::format("pays from {} rows on", row->min_rows);
    out.add(row->name, std::move(reason));
  }
}

void add_packed_float(Choices& out, int bits, std::int64_t m) {
  for (const kernels::PackedFloatKernel* row = kernels::packed_float_kernels_cpu(); row->name != nullptr; ++row) {
    if (row->bits != bits) continue;
    out.add(row->name, allowed(row->min_isa) ? most_rows(m, kernels::kMaxPackedFloatRows) : kNotAllowed);
  }
  out.add("expand_gemm_f32", "");
}

void add_dense(Choices& out, DType dtype, std::int64_t m) {
  const kernels::WeightKind kind = dtype == DType::kF32    ? kernels::WeightKind::kF32
                                   : dtype == DType::kBf16 ? kernels::WeightKind::kBf16
                                                           : kernels::WeightKind::kF16;
  const kernels::LinearArgs args{.m = m};
  const std::int64_t most = runs_in_tiles(kind) ? m : kernels::kMaxRows;
  for (const kernels::LinearKernel* row = kernels::linear_kernels_cpu(); row->name != nullptr; ++row) {
    if (row->kind != kind) continue;
    const char* objection = linear_objection(*row, args);
    out.add(row->name, objection != nullptr ? objection : most_rows(m, most));
  }
  out.add(dtype == DType::kF32 ? "gemm_f32" : "expand_gemm_f32", "");
}

}  // namespace

std::vector<KernelChoice> kernel_choices(const LinearKind& kind, std::int64_t m) {
  Choices out;
  const ActivationPrecision precision = activation_precision();
  if (kind.bits == 0) {
    add_dense(out, kind.dtype, m);
  } else if (precision == ActivationPrecision::kF32) {
    add_packed_float(out, kind.bits, m);
  } else {
    add_integer(out, kind.bits, precision == ActivationPrecision::kInt15 ? 2 : 1, m);
  }
  return out.take();
}

std::string kernel_name(const LinearKind& kind, std::int64_t m) {
  for (const KernelChoice& row : kernel_choices(kind, m)) {
    if (row.objection.empty()) return row.name;
  }
  fail(ErrorCode::kInternal, "kernel_name: no row");
}

}  // namespace awq::ops
