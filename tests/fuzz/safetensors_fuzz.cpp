// The safetensors header reader. Three views of the input: as a whole file; as a header whose length bytes are right
// and whose file size is what the tensors claim; and, when a header is accepted, the writer's plan of the same tensors,
// which must be accepted again.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "awq/error.h"
#include "formats/safetensors.h"

namespace {

using awq::formats::SafetensorsHeader;

void require(bool condition) {
  if (!condition) std::abort();
}

void check(const SafetensorsHeader& header, std::uint64_t file_size) {
  std::vector<awq::formats::TensorSpec> specs;
  std::uint64_t end = 0;
  for (const awq::formats::StoredTensor& tensor : header.tensors) {
    require(tensor.offset <= file_size && tensor.size_bytes() <= file_size - tensor.offset);
    require(end == 0 || tensor.offset == end);
    end = tensor.offset + tensor.size_bytes();
    specs.push_back(tensor);
  }
  require(header.tensors.empty() || end == file_size);
  const awq::formats::SafetensorsLayout layout = awq::formats::plan_safetensors(specs);
  const SafetensorsHeader again = awq::formats::parse_safetensors_header(layout.head, layout.file_size, "plan");
  require(again.tensors.size() == header.tensors.size());
}

void read(std::string_view head, std::uint64_t file_size) {
  try {
    check(awq::formats::parse_safetensors_header(head, file_size, "fuzz"), file_size);
  } catch (const awq::Error& error) {
    require(error.code() == awq::ErrorCode::kCorruptFile);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  read(input, size);
  if (size < 8) return 0;
  std::uint64_t data_bytes = 0;
  std::memcpy(&data_bytes, data, 8);
  const std::uint64_t length = size - 8;
  std::string head(8, '\0');
  std::memcpy(head.data(), &length, 8);
  head += input.substr(8);
  read(head, size + data_bytes % (std::uint64_t{1} << 60));
  return 0;
}
