#pragma once

#include <map>
#include <string>
#include <string_view>

namespace awq::formats {

/// Reads a model.safetensors.index.json: tensor name -> file name. `metadata` is not looked at, because writers
/// disagree about total_size. Throws kCorruptFile with `name` and the tensor; file names must be plain names that end
/// in ".safetensors".
std::map<std::string, std::string> parse_checkpoint_index(std::string_view text, const std::string& name);

}  // namespace awq::formats
