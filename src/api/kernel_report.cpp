#include <fmt/format.h>

#include <algorithm>

#include "api/device_kernel_report.h"
#include "api/setup.h"
#include "awq/inspector.h"
#include "base/check.h"
#include "model/model_files.h"
#include "ops/kernel_choice.h"

namespace awq {
namespace {

constexpr std::int64_t kRows[] = {1, 8, 32, 512};

/// Linears of one shape whose weights are stored in one way.
struct Kind {
  model::LinearShape shape;
  ops::LinearKind linear;
  std::int64_t count = 0;
};

std::vector<Kind> kinds_of(const model::ModelFiles& files) {
  std::vector<Kind> kinds;
  const auto add = [&](model::LinearShape shape, ops::LinearKind linear) {
    const auto same = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& k) {
      return k.shape.out_features == shape.out_features && k.shape.in_features == shape.in_features &&
             k.linear.bits == linear.bits && k.linear.dtype == linear.dtype;
    });
    if (same == kinds.end()) {
      kinds.push_back({shape, linear, 1});
    } else {
      ++same->count;
    }
  };
  const auto add_module = [&](const std::string& name, model::LinearShape shape) {
    if (files.is_quantized(name)) {
      // Codes of up to 4 bits are packed four to two bytes, wider ones one to a byte.
      add(shape, {.bits = files.scheme_of(name).bits <= 4 ? 4 : 8});
    } else {
      add(shape, {.dtype = files.checkpoint().get(name + ".weight").dtype});
    }
  };
  for (std::int64_t layer = 0; layer < files.config().num_hidden_layers; ++layer) {
    for (const model::LinearSpec& spec : files.architecture().linears)
      add_module(files.linear_name(layer, spec), model::linear_shape(files.config(), spec.role));
  }
  add_module(files.head_module(), {files.config().vocab_size, files.config().hidden_size});
  return kinds;
}

}  // namespace

std::vector<KernelSummary> explain_kernels(const std::filesystem::path& model, const std::string& activations,
                                           const std::string& device) {
  if (api::open_device(device, "stored") >= 0) return api::explain_device_kernels(model::ModelFiles::open(model));
  api::set_up_activations(activations);
  const model::ModelFiles files = model::ModelFiles::open(model);
  std::vector<KernelSummary> out;
  for (const Kind& kind : kinds_of(files)) {
    for (const std::int64_t rows : kRows) {
      KernelSummary summary{.out_features = static_cast<std::uint64_t>(kind.shape.out_features),
                            .in_features = static_cast<std::uint64_t>(kind.shape.in_features),
                            .weights = kind.linear.bits != 0 ? fmt::format("{} bit", kind.linear.bits)
                                                             : std::string(dtype_name(kind.linear.dtype)),
                            .count = kind.count,
                            .rows = rows,
                            .kernels = {}};
      for (ops::KernelChoice& row : ops::kernel_choices(kind.linear, rows)) {
        summary.kernels.push_back({std::move(row.name), std::move(row.objection)});
      }
      out.push_back(std::move(summary));
    }
  }
  return out;
}

}  // namespace awq
