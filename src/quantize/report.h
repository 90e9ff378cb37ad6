#pragma once

#include <optional>
#include <string>
#include <vector>

#include "awq/quantizer.h"
#include "eval/compare.h"
#include "file/json.h"
#include "model/model_files.h"
#include "quantize/layer_quantizer.h"
#include "quantize/output_plan.h"

namespace awq::quantize {

/// What quality was measured on, and what came out.
struct Measurement {
  std::string text;  ///< "the held-out tenth of ..."
  eval::Scores scores;
  std::string device = "cpu";
};

/// One layer's record: part of the journal and of the report.
file::OrderedJson layer_to_json(std::int64_t layer, const LayerReport& report, const model::ModelFiles& files);

/// awq_report.json: results only, the same for the same inputs (times and memory are in awq_run.json).
file::OrderedJson report_to_json(const QuantizeOptions& options, const OutputPlan& plan, const model::ModelFiles& files,
                                 const file::OrderedJson& calibration, const std::vector<file::OrderedJson>& layers,
                                 const std::optional<Measurement>& measurement);

/// README.md of the output: front matter and text of the original's, with what was done and what it cost put first.
std::string model_card(const QuantizeOptions& options, const OutputPlan& plan, const model::ModelFiles& files,
                       const std::optional<Measurement>& measurement, const std::string& original_card);

}  // namespace awq::quantize
