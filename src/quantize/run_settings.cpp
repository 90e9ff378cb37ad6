#include "quantize/run_settings.h"

#include "awq/version.h"
#include "base/cpu_features.h"
#include "file/sha256.h"

namespace awq::quantize {

file::OrderedJson run_settings(const model::ModelFiles& files, const OutputPlan& plan, const QuantizeOptions& options,
                               const std::string& calibration_digest, const std::string& evaluation_digest,
                               const std::string& device) {
  file::OrderedJson out;
  out["version"] = kVersion;
  out["model"] = files.checkpoint().fingerprint();
  out["config.json"] = file::sha256_hex(files.config_json().dump());
  out["--method"] = options.method;
  out["--recipe"] = options.recipe;
  out["--bits"] = plan.scheme.bits;
  out["--group-size"] = plan.scheme.group_size;
  out["--symmetric"] = plan.scheme.symmetric;
  out["--embed-bits"] = options.embed_bits;
  out["--head-bits"] = options.head_bits;
  out["--target-bpw"] = options.target_bpw;
  out["--format"] = plan.codec->name;
  out["--no-clip"] = !options.search_ranges;
  out["--skip"] = options.skip;
  out["--max-shard-size"] = options.max_shard_bytes;
  out["calibration text"] = calibration_digest;
  out["evaluation text"] = evaluation_digest;
  out["--threads"] = options.threads;
  out["--isa"] = isa_name(active_isa());
  out["--device"] = device;
  return out;
}

file::OrderedJson without_means(file::OrderedJson settings) {
  for (const char* key : {"--threads", "--isa", "--device"}) settings.erase(key);
  return settings;
}

}  // namespace awq::quantize
