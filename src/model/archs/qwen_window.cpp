#include "model/archs/qwen_window.h"

#include "base/check.h"

namespace awq::model {

std::vector<std::int64_t> read_qwen_windows(const ConfigReader& in, const ModelConfig& config) {
  const auto layers = static_cast<std::size_t>(config.num_hidden_layers);
  std::vector<std::int64_t> windows(layers, 0);
  if (!in.bool_or("use_sliding_window", false) || in.is_null("sliding_window")) return windows;
  const std::int64_t window = in.size_or("sliding_window", 4096, std::int64_t{1} << 31);
  const std::vector<std::string> types = in.strings("layer_types");
  if (!types.empty() && types.size() != layers) {
    fail(ErrorCode::kCorruptFile, "{}: \"layer_types\" has {} entries, expected {}", in.file_name(), types.size(),
         layers);
  }
  // 0 is legal here: then every layer slides.
  const auto first = static_cast<std::size_t>(in.number_or("max_window_layers", 28));
  for (std::size_t i = 0; i < layers; ++i) {
    if (!types.empty() && types[i] != "full_attention" && types[i] != "sliding_attention") {
      fail(ErrorCode::kUnsupported, "{}: layer type \"{}\", expected full_attention or sliding_attention",
           in.file_name(), printable(types[i]));
    }
    const bool slides = types.empty() ? i >= first : types[i] == "sliding_attention";
    if (slides) windows[i] = window;
  }
  return windows;
}

}  // namespace awq::model
