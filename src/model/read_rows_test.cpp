#include "model/read_rows.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "awq/error.h"
#include "base/aligned_buffer.h"
#include "base/random.h"
#include "file/json.h"
#include "support/checkpoints.h"
#include "support/temp_folder.h"

namespace awq::model {
namespace {

constexpr std::uint64_t kRows = 1001;
constexpr std::size_t kRowBytes = 3 * 1024;  // all of it is more than one thread reads alone

/// A checkpoint of two matrices, of which the second one has random bytes.
std::string write_checkpoint(const std::filesystem::path& folder) {
  std::string bytes;
  for (std::size_t i = 0; i < kRows * kRowBytes; ++i) bytes += static_cast<char>(random_bits(1, i) & 0xFF);
  const file::Json shape = {kRows, kRowBytes / 2};
  const file::Json header = {{"a", {{"dtype", "BF16"}, {"shape", {1, 4}}, {"data_offsets", {0, 8}}}},
                             {"w", {{"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {8, 8 + bytes.size()}}}}};
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string length(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i) & 0xFF);
  std::filesystem::create_directories(folder);
  test::write_bytes(folder / "model.safetensors", length + text + std::string(8, 'a') + bytes);
  return bytes;
}

TEST(ReadRows, AllBytesWithAnyTeam) {
  const test::TempFolder folder;
  const std::string expected = write_checkpoint(folder / "m");
  const formats::Checkpoint checkpoint = formats::Checkpoint::open(folder / "m");
  const int before = omp_get_max_threads();
  for (const int threads : {1, 2, 5}) {
    omp_set_num_threads(threads);
    AlignedBuffer<std::byte> to(kRows * kRowBytes);
    read_rows(checkpoint, checkpoint.get("w"), kRows, to.span());
    EXPECT_TRUE(std::equal(to.begin(), to.end(), reinterpret_cast<const std::byte*>(expected.data())))
        << threads << " threads";
  }
  omp_set_num_threads(before);
}

TEST(ReadRows, AFileThatShrinksIsAnError) {
  const test::TempFolder folder;
  write_checkpoint(folder / "m");
  const formats::Checkpoint checkpoint = formats::Checkpoint::open(folder / "m");
  const std::filesystem::path file = folder / "m" / "model.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  AlignedBuffer<std::byte> to(kRows * kRowBytes);
  try {
    read_rows(checkpoint, checkpoint.get("w"), kRows, to.span());
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorruptFile);
    EXPECT_NE(std::string(error.what()).find("model.safetensors: ends at offset"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace awq::model
