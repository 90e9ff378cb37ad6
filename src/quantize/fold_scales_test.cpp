#include "quantize/fold_scales.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/float16.h"
#include "model/decoder.h"
#include "model/model_files.h"
#include "support/checkpoints.h"
#include "support/random.h"
#include "support/random_model.h"
#include "tensor/convert.h"
#include "tolerances.h"

namespace awq::quantize {
namespace {

using test::random_floats;

/// Scales between 1/8 and 8.
std::vector<float> random_scales(std::uint64_t seed, std::size_t count) {
  std::vector<float> out = random_floats(seed, count, 3);
  for (float& value : out) value = std::exp2(value);
  return out;
}

TEST(FoldIntoNorm, NormTimesEffectiveScaleIsTheOldNorm) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBf16}) {
    std::vector<float> norm = random_floats(1, 300, 2);
    std::vector<std::byte> stored(norm.size() * dtype_bits(dtype) / 8);
    narrow_from_float(dtype, norm, stored);
    widen_to_float(dtype, stored, norm);
    const std::vector<float> before = norm;
    const std::vector<float> wanted = random_scales(2, norm.size());
    const std::vector<float> effective = fold_into_norm(norm, wanted, dtype);
    std::vector<float> back(norm.size());
    narrow_from_float(dtype, norm, stored);
    widen_to_float(dtype, stored, back);
    EXPECT_EQ(back, norm) << "the folded norm is stored without another rounding";
    for (std::size_t k = 0; k < norm.size(); ++k) {
      EXPECT_NEAR(norm[k] * effective[k], before[k], std::fabs(before[k]) * tolerance::kElementwise);
      EXPECT_GT(effective[k], 0);
      // The scale that was asked for, up to the rounding of the type.
      EXPECT_NEAR(effective[k], wanted[k], wanted[k] * tolerance::kBf16Output);
    }
  }
}

TEST(FoldIntoNorm, ChannelsThatCannotBeDividedKeepTheirWeight) {
  // Zero; a quotient below the smallest normal number; an infinite one in F16.
  std::vector<float> norm = {0, 1e-38F, 60000, 1};
  const std::vector<float> before = norm;
  const std::vector<float> effective = fold_into_norm(norm, std::vector<float>{4, 1e4F, 1e-3F, 2}, DType::kF16);
  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_EQ(effective[k], 1) << k;
    EXPECT_EQ(norm[k], before[k]) << k;
  }
  EXPECT_EQ(norm[3], 0.5F);
  EXPECT_EQ(effective[3], 2);
}

TEST(Folding, RowsColumnsAndGram) {
  std::vector<float> rows = {2, 4, 6, 8};
  std::vector<float> bias = {10, 20};
  fold_into_rows(rows.data(), 2, bias, std::vector<float>{2, 4});
  EXPECT_EQ(rows, (std::vector<float>{1, 2, 1.5F, 2}));
  EXPECT_EQ(bias, (std::vector<float>{5, 5}));
  std::vector<float> columns = {1, 2, 3, 4};
  scale_columns(columns.data(), 2, std::vector<float>{2, 3});
  EXPECT_EQ(columns, (std::vector<float>{2, 6, 6, 12}));
  std::vector<float> gram = {4, 6, 6, 9};
  scale_gram(gram.data(), std::vector<float>{2, 3});
  EXPECT_EQ(gram, (std::vector<float>{1, 1, 1, 1}));
}

/// A model whose layers were changed in memory.
class Changed : public model::WeightSource {
 public:
  /// `norm_dtype` is how norms are stored.
  Changed(const model::WeightSource& source, DType norm_dtype, bool fold)
      : source_(source), norm_dtype_(norm_dtype), fold_(fold) {}
  const model::ModelConfig& config() const override { return source_.config(); }
  const model::Architecture& architecture() const override { return source_.architecture(); }
  void embed(std::span<const std::int32_t> ids, float* out) const override { source_.embed(ids, out); }
  AlignedBuffer<float> load_final_norm() const override { return source_.load_final_norm(); }
  model::LinearWeights load_head() const override { return source_.load_head(); }
  model::LinearWeights load_embedding() const override { return source_.load_embedding(); }

  /// The layer in binary32, every fold that the architecture describes applied with random scales.
  model::LayerWeights load_layer(std::int64_t index) const override {
    model::LayerWeights layer = source_.load_layer(index);
    for (model::LinearWeights& linear : layer.linears) {
      const AlignedBuffer<float> values = linear.to_floats();
      linear.dtype = DType::kF32;
      linear.dense = AlignedBuffer<std::byte>(values.size() * sizeof(float));
      narrow_from_float(DType::kF32, values.span(), linear.dense.span());
    }
    if (!fold_) return layer;
    for (const model::SiteSpec& site : architecture().sites) fold(site, static_cast<std::uint64_t>(index), layer);
    return layer;
  }

 private:
  static float* floats(model::LinearWeights& linear) { return reinterpret_cast<float*>(linear.dense.data()); }

  void fold(const model::SiteSpec& site, std::uint64_t seed, model::LayerWeights& layer) const {
    if (site.producer == model::Producer::kValueRows && config().num_attention_heads != config().num_key_value_heads) {
      return;
    }
    auto scale = random_scales(seed * 10 + static_cast<std::uint64_t>(site.site),
                               static_cast<std::size_t>(model::site_width(config(), site.site)));
    if (site.producer == model::Producer::kNorm) {
      auto& norm = site.site == model::Site::kAttentionInput ? layer.input_norm : layer.mlp_norm;
      scale = fold_into_norm(norm.span(), scale, norm_dtype_);
    } else {
      model::LinearWeights& producer =
          layer[site.producer == model::Producer::kUpRows ? model::Role::kUp : model::Role::kV];
      fold_into_rows(floats(producer), static_cast<std::int64_t>(producer.in_features), producer.bias.span(), scale);
    }
    for (const model::LinearSpec& linear : architecture().linears) {
      if (linear.input != site.site) continue;
      scale_columns(floats(layer[linear.role]), static_cast<std::int64_t>(layer[linear.role].out_features), scale);
    }
  }

  const model::WeightSource& source_;
  DType norm_dtype_;
  bool fold_;
};

std::vector<float> hidden_of(const model::WeightSource& source) {
  const std::vector<std::int32_t> ids = {3, 14, 15, 9, 62, 53, 58, 7, 32, 38, 46, 26};
  std::vector<float> hidden(ids.size() * static_cast<std::size_t>(source.config().hidden_size));
  source.embed(ids, hidden.data());
  model::Decoder decoder(source.config());
  const model::SequenceSlice slice{.token_count = static_cast<std::int64_t>(ids.size())};
  for (std::int64_t layer = 0; layer < source.config().num_hidden_layers; ++layer) {
    decoder.forward_layer(model::DecoderLayer(source.load_layer(layer)), layer, {&slice, 1}, hidden.data());
  }
  return hidden;
}

void expect_unchanged(const model::WeightSource& source, DType norm_dtype, const std::string& name) {
  const std::vector<float> expected = hidden_of(Changed(source, norm_dtype, false));
  const std::vector<float> got = hidden_of(Changed(source, norm_dtype, true));
  double largest = 0;
  for (const float value : expected) largest = std::max(largest, std::fabs(static_cast<double>(value)));
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], expected[i], largest * tolerance::kFoldedHidden) << name << " at " << i;
  }
}

TEST(Folding, LeavesEveryFamilyUnchanged) {
  for (const auto& folder : test::golden_models()) {
    const model::ModelFiles files = model::ModelFiles::open(folder);
    expect_unchanged(files, files.dtype(), folder.filename().string());
  }
}

TEST(Folding, ValueRowsToo) { expect_unchanged(test::RandomModel(), DType::kF32, "as many value heads as heads"); }

}  // namespace
}  // namespace awq::quantize
