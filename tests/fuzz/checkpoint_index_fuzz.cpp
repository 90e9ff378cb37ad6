// The reader of model.safetensors.index.json: every file name that it lets pass stays inside the model folder.

#include <cstdint>
#include <cstdlib>
#include <filesystem>

#include "awq/error.h"
#include "formats/checkpoint_index.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto files = awq::formats::parse_checkpoint_index({reinterpret_cast<const char*>(data), size}, "fuzz");
    for (const auto& [tensor, file_name] : files) {
      const std::filesystem::path path = std::filesystem::path("folder") / file_name;
      if (path.lexically_normal().parent_path() != "folder" || path.filename() != file_name) std::abort();
    }
  } catch (const awq::Error& error) {
    if (error.code() != awq::ErrorCode::kCorruptFile) std::abort();
  }
  return 0;
}
