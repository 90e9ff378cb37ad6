#pragma once

#include <optional>

#include "gpu_quantize/code_search.h"
#include "gpu_quantize/site_sums.h"
#include "gpu_quantize/trace.h"
#include "quantize/site_search.h"

namespace awq::gpu_quantize {

/// A site on the device; what comes and goes over the bus are weights as floats once, and codes once.
class DeviceSiteSearch final : public quantize::SiteSearch {
 public:
  DeviceSiteSearch(Queue& queue, SiteSums&& sums);

  std::int64_t width() const override { return sums_.width(); }
  void load(std::vector<quantize::SearchedLinear> linears, const quantize::SiteSearchPlan& plan) override;
  void correct() override;
  double energy(std::size_t linear) override;
  double rounding_loss(std::size_t linear) override;
  std::vector<double> mean_abs() override { return sums_.mean_abs(); }
  std::vector<double> relative_magnitude() override;
  double scaled_rounding_loss(std::span<const float> channel_scale) override;
  void scale(std::span<const float> channel_scale) override;
  void search() override;
  double result_loss(std::size_t linear) override;
  void fall_back(std::size_t linear) override;
  double clipped_share(std::size_t linear) override;
  quant::QuantizedTensor take_result(std::size_t linear) override;

 private:
  struct DeviceCodes {
    Array<std::uint8_t> codes, zero_points;
    Array<float> scales;
  };
  struct Entry {
    Array<float> weights;
    std::int64_t rows = 0;
    DeviceCodes rounded;  ///< of the weights as they came
    DeviceCodes result;
  };
  DeviceCodes make_codes(std::int64_t rows) const;
  /// `codes` as the kernels see them.
  kernels::cuda::search::Codes view(const DeviceCodes& codes, std::int64_t rows) const;
  /// Made when a loss is asked for; its memory is needed for other things in between.
  Trace& trace();
  double loss(const Entry& entry, const DeviceCodes& codes);
  std::vector<float> diagonal() const;

  Queue& queue_;
  SiteSums sums_;
  quantize::SiteSearchPlan plan_;
  std::int64_t group_size_ = 0;
  std::vector<Entry> entries_;
  std::optional<Trace> trace_;
};

/// How the kernels see a stored type of scales.
kernels::cuda::search::ScaleType scale_type(DType dtype);

}  // namespace awq::gpu_quantize
