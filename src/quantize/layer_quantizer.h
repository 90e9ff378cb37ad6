#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/architecture.h"
#include "model/model_files.h"
#include "quant/scheme.h"
#include "quantize/activation_stats.h"
#include "quantize/site_search.h"

namespace awq::quantize {

/// What to do with a layer. Pure data: the same plan, weights and statistics give the same result.
struct LayerPlan {
  quant::Scheme scheme;
  std::array<std::optional<quant::Scheme>, model::kSites> site_scheme{};  ///< of linears that read a site, if another
  DType scale_dtype = DType::kF16;
  bool search_scales = true;  ///< false for plain rounding
  bool search_ranges = true;
  CodeSearch codes = CodeSearch::kRound;
  bool tie_value_heads = false;  ///< scale o_proj's inputs where query heads share a value head, with equal scales
  ops::Precision precision = ops::Precision::kF32;
  std::array<bool, model::kRoles> quantized{};    ///< by Role; the others stay as they are
  std::array<DType, model::kSites> norm_dtype{};  ///< by Site, how its norm is stored: folding is exact in this type

  const quant::Scheme& scheme_at(model::Site site) const {
    const auto& own = site_scheme[static_cast<std::size_t>(site)];
    return own ? *own : scheme;
  }
};

struct LinearReport {
  model::Role role;
  double error_before = 0;    ///< output error of plain rounding, relative to the energy of the output; both against
                              ///< the corrected weights where there are such
  double error_after = 0;     ///< the same for what was stored
  double clipped_groups = 0;  ///< share of groups with a weight more than half a step outside their range
};

struct SiteReport {
  model::Site site;
  double alpha = -1;  ///< exponent of the chosen scale; -1: none
};

struct LayerReport {
  std::vector<LinearReport> linears;
  std::vector<SiteReport> sites;
  /// Mean of the relative errors after quantization, weighted by output energy.
  double mean_error = 0;
};

/// Per-site statistics of one layer; null where nothing reads them.
using LayerStatistics = std::array<std::optional<SiteStatistics>, model::kSites>;
/// The same with the means of searching; null where nothing reads a site, or nothing was seen there.
using LayerSites = std::array<std::unique_ptr<SiteSearch>, model::kSites>;

/// Quantizes one decoder layer site by site, in an order of the caller's choice that has every site before the linears
/// that it is fed by, or after them: in the first case their rows are divided before they are quantized, in the second
/// their scales are.
class LayerQuantizer {
 public:
  LayerQuantizer(const model::ModelConfig& config, const model::Architecture& architecture, const LayerPlan& plan,
                 model::LayerWeights& weights, std::string layer_name);
  ~LayerQuantizer();

  /// Quantizes the linears that read `site`. Without what calibration found there (null) they are rounded.
  void quantize_site(const model::SiteSpec& site, std::unique_ptr<SiteSearch> search);
  LayerReport finish();

 private:
  class Job;
  std::unique_ptr<Job> job_;
};

/// Quantizes one decoder layer in place: on return the planned linears of `weights` hold canonical quantized tensors
/// and the producers (norms, value rows, up rows, biases) have absorbed the inverse of the channel scales. The layer's
/// output in exact arithmetic is unchanged but for the quantization itself. `statistics` may be consumed.
LayerReport quantize_layer(const model::ModelConfig& config, const model::Architecture& architecture,
                           const LayerPlan& plan, LayerStatistics& statistics, model::LayerWeights& weights,
                           const std::string& layer_name);
LayerReport quantize_layer(const model::ModelConfig& config, const model::Architecture& architecture,
                           const LayerPlan& plan, LayerSites sites, model::LayerWeights& weights,
                           const std::string& layer_name);

/// True when the producer of a site can absorb scales exactly for this model and plan.
bool can_fold(const model::ModelConfig& config, const model::Architecture& architecture, const LayerPlan& plan,
              const model::SiteSpec& site);

}  // namespace awq::quantize
