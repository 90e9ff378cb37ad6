#include "eval/layer_probe.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "model/decoder.h"
#include "support/checkpoints.h"
#include "tolerances.h"

namespace awq::eval {
namespace {

/// The same model with the weights of some roles of one layer halved.
class Halved : public model::WeightSource {
 public:
  Halved(const model::ModelFiles& files, std::int64_t layer, model::Role role)
      : files_(files), layer_(layer), role_(role) {}
  const model::ModelConfig& config() const override { return files_.config(); }
  const model::Architecture& architecture() const override { return files_.architecture(); }
  model::LayerWeights load_layer(std::int64_t layer) const override {
    model::LayerWeights weights = files_.load_layer(layer);
    if (layer != layer_) return weights;
    model::LinearWeights& linear = weights[role_];
    AlignedBuffer<float> values = linear.to_floats();
    for (float& v : values) v *= 0.5F;
    linear.dense = AlignedBuffer<std::byte>(values.size() * sizeof(float));
    std::copy(values.bytes().begin(), values.bytes().end(), linear.dense.begin());
    linear.dtype = DType::kF32;
    return weights;
  }
  void embed(std::span<const std::int32_t> ids, float* out) const override { files_.embed(ids, out); }
  AlignedBuffer<float> load_final_norm() const override { return files_.load_final_norm(); }
  model::LinearWeights load_head() const override { return files_.load_head(); }
  model::LinearWeights load_embedding() const override { return files_.load_embedding(); }

 private:
  const model::ModelFiles& files_;
  std::int64_t layer_;
  model::Role role_;
};

Windows some_windows(std::int64_t vocab) {
  Windows windows;
  for (const std::size_t length : {3U, 20U, 11U}) {
    auto& window = windows.emplace_back(length);
    for (std::size_t i = 0; i < length; ++i) {
      window[i] = static_cast<std::int32_t>(random_bits(length, i) % static_cast<std::uint64_t>(vocab));
    }
  }
  return windows;
}

TEST(LayerProbe, SeesWhereTheModelsDiffer) {
  const model::ModelFiles files = model::ModelFiles::open(test::golden_models().front());
  const Windows windows = some_windows(files.config().vocab_size);
  const Halved attention(files, 1, model::Role::kO);
  const Halved mlp(files, 0, model::Role::kDown);
  const model::WeightSource* const models[] = {&files, &attention, &mlp};
  const LayerProbe probe = probe_layers(models, files, windows, &mlp);
  ASSERT_EQ(probe.errors.size(), 3U);
  for (const LayerError& same : probe.errors[0]) {
    EXPECT_EQ(same.attention, 0);
    EXPECT_EQ(same.mlp, 0);
    EXPECT_EQ(same.accumulated, 0);
  }
  EXPECT_EQ(probe.errors[1][0].accumulated, 0);
  EXPECT_EQ(probe.errors[1][1].mlp, 0);
  EXPECT_GT(probe.errors[1][1].attention, 0);
  EXPECT_GT(probe.errors[1][1].accumulated, 0);
  EXPECT_EQ(probe.errors[2][0].attention, 0);
  EXPECT_GT(probe.errors[2][0].mlp, 0);
  EXPECT_GT(probe.errors[2][1].accumulated, 0);
  EXPECT_EQ(probe.errors[2][1].mlp, 0);
  ASSERT_EQ(probe.base.size(), 2U);
  ASSERT_EQ(probe.profiled.size(), 2U);
  // The down projection is the last thing in its layer: what enters its linears is the same in both models.
  EXPECT_EQ(probe.base[0], probe.profiled[0]);
  for (const auto& site : probe.base[0]) EXPECT_FALSE(site.empty());
}

TEST(LayerProbe, ErrorsAreThoseOfTheDefinition) {
  const model::ModelFiles files = model::ModelFiles::open(test::golden_models().front());
  const Windows windows = {some_windows(files.config().vocab_size)[1]};
  const Halved changed(files, 0, model::Role::kDown);
  const model::WeightSource* const models[] = {&changed};
  const LayerProbe probe = probe_layers(models, files, windows, nullptr);
  EXPECT_TRUE(probe.profiled.empty());
  const auto count = windows[0].size() * static_cast<std::size_t>(files.config().hidden_size);
  std::vector<float> in(count);
  files.embed(windows[0], in.data());
  std::vector<float> original = in, other = in;
  const std::vector<model::SequenceSlice> slices = {{.token_count = static_cast<std::int64_t>(windows[0].size())}};
  model::Decoder decoder(files.config());
  decoder.forward_layer(model::DecoderLayer(files.load_layer(0)), 0, slices, original.data());
  decoder.forward_layer(model::DecoderLayer(changed.load_layer(0)), 0, slices, other.data());
  double error = 0, added = 0, energy = 0;
  for (std::size_t i = 0; i < count; ++i) {
    error += std::pow(static_cast<double>(other[i]) - original[i], 2);
    added += std::pow(static_cast<double>(original[i]) - in[i], 2);
    energy += std::pow(static_cast<double>(original[i]), 2);
  }
  const LayerError& found = probe.errors[0][0];
  EXPECT_NEAR(found.mlp, error / added, tolerance::kLayerError * found.mlp);
  EXPECT_NEAR(found.accumulated, error / energy, tolerance::kLayerError * found.accumulated);
}

}  // namespace
}  // namespace awq::eval
