#include "api/device_kernel_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "device/memory.h"
#include "gpu/linear.h"
#include "kernels/api/cuda_linear.h"

namespace awq::api {
namespace {

using kernels::cuda::W4Layout;
using kernels::cuda::W4Problem;

constexpr std::int64_t kRows[] = {1, 16, 64, 512, 2048};
constexpr int kCodeBits = 4;

/// Linears of one shape that are stored in one way.
struct Kind {
  W4Layout layout;  ///< group_size 0: 16-bit weights
  std::string weights;
  const char* dense_kernel = nullptr;  ///< what multiplies 16-bit weights
  std::int64_t count = 0;
};

void add(std::vector<Kind>& kinds, const Kind& kind) {
  const auto same = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& k) {
    return k.layout.n == kind.layout.n && k.layout.k == kind.layout.k && k.weights == kind.weights &&
           k.dense_kernel == kind.dense_kernel;
  });
  if (same == kinds.end()) {
    kinds.push_back(kind);
  } else {
    ++same->count;
  }
}

/// What reads one input, as one weight: 4-bit codes where all of it has them and the stream takes their groups, else 16
/// bits. By the headers: a scale that is no F16 number, or a zero point of 16, shows only when a model is loaded.
Kind fused(const model::ModelFiles& files, const std::vector<std::string>& names, model::LinearShape shape) {
  Kind kind{.layout = {shape.out_features, shape.in_features, 0},
            .weights = "16 bit",
            .dense_kernel = "cublasLt",
            .count = 1};
  const bool codes = std::all_of(names.begin(), names.end(), [&](const auto& n) { return files.is_quantized(n); });
  if (!codes) return kind;
  const quant::Scheme scheme = files.scheme_of(names.front());
  const bool alike =
      std::all_of(names.begin(), names.end(), [&](const auto& n) { return files.scheme_of(n) == scheme; });
  const auto group =
      static_cast<std::int64_t>(quant::resolved_group_size(scheme, static_cast<std::uint64_t>(shape.in_features)));
  const bool runs = alike && scheme.kind == quant::CodeKind::kInteger && scheme.bits == kCodeBits &&
                    kernels::cuda::w4_objection(shape.out_features, shape.in_features, group, nullptr, 0) == nullptr;
  if (!runs) {
    kind.weights = "16 bit, expanded";
    return kind;
  }
  kind.layout.group_size = group;
  kind.weights = fmt::format("{} bit, group {}", kCodeBits, group);
  kind.dense_kernel = nullptr;
  return kind;
}

std::vector<Kind> kinds_of(const model::ModelFiles& files) {
  std::vector<Kind> kinds;
  bool all_codes = true;
  for (std::int64_t layer = 0; layer < files.config().num_hidden_layers; ++layer) {
    struct Fused {
      std::vector<std::string> names;
      model::LinearShape shape{0, 0};
    };
    std::map<model::Site, Fused> sites;
    for (const model::LinearSpec& spec : files.architecture().linears) {
      const model::LinearShape shape = model::linear_shape(files.config(), spec.role);
      Fused& site = sites[spec.input];
      site.names.push_back(files.linear_name(layer, spec));
      site.shape.out_features += shape.out_features;
      site.shape.in_features = shape.in_features;
    }
    for (const auto& [site, linear] : sites) {
      const Kind kind = fused(files, linear.names, linear.shape);
      all_codes = all_codes && kind.layout.group_size != 0;
      add(kinds, kind);
    }
  }
  add(kinds, {.layout = {files.config().vocab_size, files.config().hidden_size, 0},
              .weights = "16 bit, head",
              .dense_kernel = all_codes ? "dense" : "cublasLt",
              .count = 1});
  return kinds;
}

std::vector<KernelRow> rows_of(const Kind& kind, kernels::cuda::Half type, std::int64_t m) {
  if (kind.dense_kernel != nullptr) return {{kind.dense_kernel, ""}};
  const device::Buffer workspace(kernels::cuda::w4_workspace_bytes(kind.layout, m));
  const W4Problem problem{.layout = kind.layout, .type = type, .m = m, .workspace = workspace.data()};
  const int chosen = kernels::cuda::w4_choice(problem);
  std::vector<KernelRow> out;
  for (int index = 0; kernels::cuda::w4_kernel_names()[index] != nullptr; ++index) {
    const char* objection = kernels::cuda::w4_kernel_objection(problem, index);
    if (objection == nullptr && index != chosen) objection = "could run, but was slower in measurements";
    out.push_back({kernels::cuda::w4_kernel_names()[index], objection != nullptr ? objection : ""});
  }
  out.push_back({gpu::kPanelName, kernels::cuda::w4_panel_pays(kind.layout, m)
                                      ? "taken with --cuda-linear fast: rows then depend on their number"
                                      : "not even with --cuda-linear fast: so few tokens do not pay for an expansion"});
  return out;
}

}  // namespace

std::vector<KernelSummary> explain_device_kernels(const model::ModelFiles& files) {
  // A device without BF16 computes in F16 or not at all (--dtype).
  const bool f16 = files.dtype() == DType::kF16 || kernels::cuda::type_objection(kernels::cuda::Half::kBf16) != nullptr;
  const auto type = f16 ? kernels::cuda::Half::kF16 : kernels::cuda::Half::kBf16;
  std::vector<KernelSummary> out;
  for (const Kind& kind : kinds_of(files)) {
    for (const std::int64_t m : kRows) {
      out.push_back({.out_features = static_cast<std::uint64_t>(kind.layout.n),
                     .in_features = static_cast<std::uint64_t>(kind.layout.k),
                     .weights = kind.weights,
                     .count = kind.count,
                     .rows = m,
                     .kernels = rows_of(kind, type, m)});
    }
  }
  return out;
}

}  // namespace awq::api
