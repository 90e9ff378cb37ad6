#include "model/rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace awq::model {
namespace {

double frequency(double theta, std::int64_t j, std::int64_t head_dim) {
  return std::pow(theta, -2.0 * static_cast<double>(j) / static_cast<double>(head_dim));
}

double llama3_frequency(const RopeConfig& rope, double f) {
  const double context = static_cast<double>(rope.original_max_position_embeddings);
  const double wavelength = 2.0 * std::numbers::pi / f;
  if (wavelength < context / rope.high_freq_factor) return f;
  if (wavelength > context / rope.low_freq_factor) return f / rope.factor;
  const double t = (context / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return (1.0 - t) * f / rope.factor + t * f;
}

double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

float yarn_attention_factor(const RopeConfig& rope) {
  if (rope.attention_factor) return static_cast<float>(*rope.attention_factor);
  if (rope.mscale.value_or(0) != 0 && rope.mscale_all_dim.value_or(0) != 0) {
    return static_cast<float>(yarn_mscale(rope.factor, *rope.mscale) / yarn_mscale(rope.factor, *rope.mscale_all_dim));
  }
  return static_cast<float>(yarn_mscale(rope.factor, 1.0));
}

void yarn(const RopeConfig& rope, std::int64_t head_dim, RopeFrequencies& out) {
  const double d = static_cast<double>(head_dim);
  // The pair whose angle turns `rotations` times over the trained context.
  const auto pair_of = [&](double rotations) {
    return d *
           std::log(static_cast<double>(rope.original_max_position_embeddings) / (rotations * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(rope.theta));
  };
  double low = pair_of(rope.beta_fast);
  double high = pair_of(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, d - 1.0);
  if (low == high) high += 0.001;  // as the reference does, to keep the ramp defined
  for (std::int64_t j = 0; j < head_dim / 2; ++j) {
    const double ramp = std::clamp((static_cast<double>(j) - low) / (high - low), 0.0, 1.0);
    const double f = frequency(rope.theta, j, head_dim);
    out.frequencies[static_cast<std::size_t>(j)] = static_cast<float>(f / rope.factor * ramp + f * (1.0 - ramp));
  }
  out.attention_factor = yarn_attention_factor(rope);
}

}  // namespace

RopeFrequencies compute_rope(const RopeConfig& rope, std::int64_t head_dim, std::int64_t length) {
  RopeFrequencies out;
  out.frequencies.resize(static_cast<std::size_t>(head_dim / 2));
  if (rope.kind == RopeConfig::Kind::kYarn) {
    yarn(rope, head_dim, out);
    return out;
  }
  double theta = rope.theta;
  const std::int64_t trained = rope.original_max_position_embeddings;
  if (rope.kind == RopeConfig::Kind::kDynamic && length > trained && head_dim > 2) {
    const double ratio = static_cast<double>(length) / static_cast<double>(trained);
    theta *= std::pow(rope.factor * ratio - (rope.factor - 1.0),
                      static_cast<double>(head_dim) / static_cast<double>(head_dim - 2));
  }
  for (std::int64_t j = 0; j < head_dim / 2; ++j) {
    double f = frequency(theta, j, head_dim);
    if (rope.kind == RopeConfig::Kind::kLinear) f /= rope.factor;
    if (rope.kind == RopeConfig::Kind::kLlama3) f = llama3_frequency(rope, f);
    out.frequencies[static_cast<std::size_t>(j)] = static_cast<float>(f);
  }
  return out;
}

}  // namespace awq::model
