#include <algorithm>

#include "base/check.h"
#include "formats/codec.h"
#include "formats/name_pattern.h"

namespace awq::formats {
namespace {

constexpr std::string_view kPatternMark = "re:";

bool is_pattern(const std::string& target) { return target.starts_with(kPatternMark); }

/// The first group, in an order like that of the library that defines the format, with a target that `accepts`.
template <typename Accepts>
const TargetGroup* find_group(const std::vector<TargetGroup>& groups, const Accepts& accepts) {
  const TargetGroup* found = nullptr;
  const std::string* by = nullptr;
  for (const TargetGroup& group : groups) {
    for (const std::string& target : group.targets) {
      if ((by == nullptr || target < *by) && accepts(target)) {
        found = &group;
        by = &target;
      }
    }
  }
  return found;
}

}  // namespace

QuantizationInfo QuantizationInfo::of(const std::string& module, ModuleClass kind) const {
  QuantizationInfo out = *this;
  out.groups.clear();
  if (groups.empty()) return out;
  const TargetGroup* group = find_group(groups, [&](const std::string& target) { return target == module; });
  if (group == nullptr) {
    group = find_group(groups, [&](const std::string& target) {
      return is_pattern(target) && NamePattern(std::string_view(target).substr(kPatternMark.size())).matches(module);
    });
  }
  const char* class_name = kind == ModuleClass::kLinear ? "Linear" : "Embedding";
  if (group == nullptr) group = find_group(groups, [&](const std::string& target) { return target == class_name; });
  if (group == nullptr) {
    fail(ErrorCode::kCorruptFile,
         "config.json: quantization_config.config_groups: no group targets \"{}\", whose weights are quantized",
         printable(module));
  }
  out.scheme = group->scheme;
  out.needs_group_index = group->needs_group_index;
  return out;
}

}  // namespace awq::formats
