#include "quantize/paper_recipe.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/parallel.h"
#include "base/stop.h"
#include "ops/gemm.h"
#include "quant/group_quant.h"

namespace awq::quantize {
namespace {

constexpr int kClipSteps = 10;
constexpr float kClipStep = 0.05F;

/// Scale and zero point from the range as it is, without zero in it where the weights have one sign.
quant::GroupParams fit(float low, float high, const quant::Scheme& scheme, DType scale_dtype) {
  const float largest = static_cast<float>(quant::max_code(scheme.bits));
  if (scheme.symmetric) return quant::fit_range(low, high, scheme, scale_dtype);
  const float scale = quant::stored_scale(std::max(high - low, 1e-5F) / largest, scale_dtype);
  const float zero = std::clamp(-std::nearbyint(low / scale), 0.0F, largest);
  return {scale, static_cast<int>(zero)};
}

}  // namespace

quant::QuantizedTensor paper_round(const float* weights, std::int64_t rows, std::int64_t width,
                                   std::span<const float> channel_scale, const quant::Scheme& scheme,
                                   DType scale_dtype) {
  quant::QuantizedTensor tensor =
      quant::make_tensor(static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(width), scheme, scale_dtype);
  const auto groups = static_cast<std::int64_t>(tensor.groups());
  const std::int64_t size = width / groups;
  ParallelError error;
#pragma omp parallel
  {
    std::vector<float> row;
#pragma omp for schedule(static)
    for (std::int64_t n = 0; n < rows; ++n) {
      error.guard([&] {
        row.resize(static_cast<std::size_t>(width));
        for (std::int64_t k = 0; k < width; ++k) {
          const auto at = static_cast<std::size_t>(k);
          row[at] = weights[n * width + k] * (channel_scale.empty() ? 1.0F : channel_scale[at]);
        }
        for (std::int64_t g = 0; g < groups; ++g) {
          const quant::Range range = quant::range_of(row.data() + g * size, static_cast<std::uint64_t>(size));
          const quant::GroupParams p = fit(range.low, range.high, scheme, scale_dtype);
          tensor.scales[static_cast<std::size_t>(n * groups + g)] = p.scale;
          tensor.zero_points[static_cast<std::size_t>(n * groups + g)] = static_cast<std::uint8_t>(p.zero_point);
        }
        quant::encode_row(row.data(), static_cast<std::uint64_t>(n), tensor);
      });
    }
  }
  error.rethrow();
  return tensor;
}

ScaleSearchResult paper_scale_search(std::span<const WeightView> consumers, std::span<const double> mean_abs,
                                     const quant::Scheme& scheme, const ModuleLoss& loss) {
  const auto width = static_cast<std::int64_t>(mean_abs.size());
  const ScaleCandidates candidates(consumers, mean_abs, scheme);
  ScaleSearchResult best;
  best.loss = std::numeric_limits<double>::infinity();
  for (int i = 0; i < ScaleCandidates::kGrid; ++i) {
    stop_flag().throw_if_requested();
    const double alpha = static_cast<double>(i) / ScaleCandidates::kGrid;
    std::vector<float> s = candidates.make(alpha);
    const double found = loss(s);
    if (!(found < best.loss)) continue;
    best.loss = found;
    best.alpha = alpha;
    best.channel_scale = std::move(s);
  }
  if (best.channel_scale.empty()) {
    fail(ErrorCode::kCorruptFile, "no scale of {} channels gives a finite error: weights or activations are not finite",
         width);
  }
  return best;
}

double paper_clip(float* weights, std::int64_t rows, std::int64_t width, std::span<const float> inputs,
                  const quant::Scheme& scheme, DType scale_dtype) {
  const auto size = static_cast<std::int64_t>(quant::resolved_group_size(scheme, static_cast<std::uint64_t>(width)));
  const std::int64_t tokens = static_cast<std::int64_t>(inputs.size()) / width;
  const float largest = static_cast<float>(quant::max_code(scheme.bits));
  std::vector<float> gram(static_cast<std::size_t>(size * size));
  std::int64_t clipped = 0;
  for (std::int64_t begin = 0; begin < width; begin += size) {
    stop_flag().throw_if_requested();
    ops::gemm(ops::GemmF32{.transpose_a = true,
                           .m = size,
                           .n = size,
                           .k = tokens,
                           .a = inputs.data() + begin,
                           .lda = width,
                           .b = inputs.data() + begin,
                           .ldb = width,
                           .c = gram.data(),
                           .ldc = size});
    ParallelError failure;
#pragma omp parallel reduction(+ : clipped)
    {
      std::vector<float> change;
      std::vector<float> product;
#pragma omp for schedule(static)
      for (std::int64_t n = 0; n < rows; ++n) {
        failure.guard([&] {
          change.resize(static_cast<std::size_t>(size));
          product.resize(static_cast<std::size_t>(size));
          float* w = weights + n * width + begin;
          float magnitude = 0;
          for (std::int64_t k = 0; k < size; ++k) magnitude = std::max(magnitude, std::fabs(w[k]));
          double best = std::numeric_limits<double>::infinity();
          float bound = magnitude;
          for (int i = 0; i < kClipSteps; ++i) {
            const float m = magnitude * (1 - kClipStep * static_cast<float>(i));
            float low = std::numeric_limits<float>::infinity();
            float high = -low;
            for (std::int64_t k = 0; k < size; ++k) {
              const float cut = std::clamp(w[k], -m, m);
              low = std::min(low, cut);
              high = std::max(high, cut);
            }
            const quant::GroupParams p = fit(low, high, scheme, scale_dtype);
            const float zero = static_cast<float>(p.zero_point);
            for (std::int64_t k = 0; k < size; ++k) {
              const float cut = std::clamp(w[k], -m, m);
              change[static_cast<std::size_t>(k)] =
                  (quant::code_of(cut, p.scale, zero, largest) - zero) * p.scale - w[k];
            }
            std::fill(product.begin(), product.end(), 0.0F);
            for (std::int64_t k = 0; k < size; ++k) {
              const float d = change[static_cast<std::size_t>(k)];
              for (std::int64_t j = 0; j < size; ++j)
                product[static_cast<std::size_t>(j)] += d * gram[static_cast<std::size_t>(k * size + j)];
            }
            double error = 0;
            for (std::size_t k = 0; k < change.size(); ++k) error += static_cast<double>(change[k]) * product[k];
            if (error < best) {
              best = error;
              bound = m;
            }
          }
          if (bound < magnitude) ++clipped;
          for (std::int64_t k = 0; k < size; ++k) w[k] = std::clamp(w[k], -bound, bound);
        });
      }
    }
    failure.rethrow();
  }
  return static_cast<double>(clipped) / static_cast<double>(rows * (width / size));
}

}  // namespace awq::quantize
