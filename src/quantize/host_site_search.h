#pragma once

#include <memory>
#include <optional>

#include "quantize/activation_stats.h"
#include "quantize/quadratic_form.h"
#include "quantize/scale_search.h"
#include "quantize/site_search.h"
#include "quantize/target_correction.h"

namespace awq::quantize {

/// A site on the processor.
class HostSiteSearch final : public SiteSearch {
 public:
  explicit HostSiteSearch(SiteStatistics&& statistics, std::unique_ptr<CorrectionStatistics> correction = nullptr);

  std::int64_t width() const override { return statistics_.width(); }
  void load(std::vector<SearchedLinear> linears, const SiteSearchPlan& plan) override;
  void correct() override;
  double energy(std::size_t linear) override;
  double rounding_loss(std::size_t linear) override;
  std::vector<double> mean_abs() override { return statistics_.mean_abs(); }
  std::vector<double> relative_magnitude() override;
  double scaled_rounding_loss(std::span<const float> channel_scale) override;
  void scale(std::span<const float> channel_scale) override;
  void search() override;
  double result_loss(std::size_t linear) override;
  void fall_back(std::size_t linear) override;
  double clipped_share(std::size_t linear) override;
  quant::QuantizedTensor take_result(std::size_t linear) override;

 private:
  struct Entry {
    AlignedBuffer<float> weights;
    std::int64_t rows = 0;
    quant::QuantizedTensor rounded;  ///< of the weights as they came
    quant::QuantizedTensor result;

    WeightView view() const { return {weights.data(), rows}; }
  };
  /// Made when a loss is asked for; its memory is needed for other things in between.
  QuadraticForm& form();
  double loss(const Entry& entry, const quant::QuantizedTensor& tensor);
  quant::QuantizedTensor round(const Entry& entry) const;

  SiteStatistics statistics_;
  std::unique_ptr<CorrectionStatistics> correction_;
  SiteSearchPlan plan_;
  std::vector<Entry> entries_;
  std::optional<QuadraticForm> form_;
};

}  // namespace awq::quantize
