#include "quantize/plan_lines.h"

#include <fmt/format.h>

namespace awq::quantize {

std::vector<std::string> plan_lines(const QuantizeOptions& options, const OutputPlan& plan,
                                    const ResourcePlan& resources, const QuantizeSummary& summary,
                                    const CalibrationBlocks& blocks, ops::Precision precision) {
  std::vector<std::string> lines;
  const bool on_device = summary.planned_device_bytes > 0;
  lines.push_back(fmt::format("memory   {} at the peak", megabytes(resources.peak_bytes)));
  if (on_device) lines.push_back(fmt::format("device   {} of its memory", megabytes(summary.planned_device_bytes)));
  lines.push_back(fmt::format("disk     {} for the output, {} in all while it runs",
                              megabytes(plan.checkpoint.file_bytes), megabytes(resources.disk_bytes)));
  if (blocks.count > 0) {
    // How fast a device is shows when it works.
    if (!on_device) {
      const double seconds = 1.4 * resources.operations / measure_speed(precision);
      lines.push_back(seconds < 1 ? std::string("time     less than a second on this machine")
                                  : fmt::format("time     about {:.0f} s on this machine", seconds));
    }
    lines.push_back(fmt::format("text     {} blocks of {} tokens", blocks.count, blocks.length));
  }
  lines.push_back(fmt::format("layers   {} with {} of {} linears quantized", summary.layers, summary.quantized_linears,
                              plan.linears.size()));
  if (options.target_bpw > 0) {
    lines.push_back(fmt::format("bits     8 in the linears that lose most, for at most {} bits per parameter in all",
                                options.target_bpw));
  }
  for (const PlannedVocabulary& matrix : plan.vocabulary) lines.push_back("bits     8 in " + matrix.module);
  for (const PlannedLinear& linear : plan.linears) {
    if (!linear.kept_because.empty()) lines.push_back("kept     " + linear.module + ": " + linear.kept_because);
  }
  for (const std::string& remark : plan.remarks) lines.push_back("note     " + remark);
  return lines;
}

}  // namespace awq::quantize
