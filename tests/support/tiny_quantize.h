#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "awq/quantizer.h"
#include "base/random.h"
#include "file/system.h"
#include "support/checkpoints.h"
#include "support/paths.h"
#include "support/temp_folder.h"

namespace awq::test {

using Files = std::map<std::string, std::string>;

/// Names of the files that are not the same in both; readable where the bytes would not be.
inline std::string difference(const Files& a, const Files& b) {
  std::string out;
  for (const auto& [name, bytes] : a) {
    if (!b.contains(name)) out += name + " is new; ";
    if (b.contains(name) && b.at(name) != bytes) out += name + " differs; ";
  }
  for (const auto& [name, bytes] : b) {
    if (!a.contains(name)) out += name + " is missing; ";
  }
  return out;
}

/// Real files without the waiting for the disk: the tests would take minutes, and the power stays on.
class UnsyncedSystem : public file::System {
 public:
  int fsync(int) override { return 0; }
};

/// A golden model with a tokenizer and a calibration text, in a folder of its own, ready to be quantized in a few
/// milliseconds.
class TinyQuantize {
 public:
  explicit TinyQuantize(const std::string& family = "llama") {
    derive_model(std::filesystem::path(AWQ_SOURCE_DIR) / "tests/golden/models" / family, folder_ / "model",
                 file::Json::object());
    write_bytes(folder_ / "model/tokenizer.json", tiny_tokenizer_json());
    write_bytes(folder_ / "model/README.md", "---\nlicense: mit\n---\n# A tiny model\n");
    write_bytes(folder_ / "text.txt", text());
  }

  std::filesystem::path output() const { return folder_ / "out"; }
  std::filesystem::path staging() const { return folder_ / "out.awq-partial"; }
  std::filesystem::path operator/(const std::string& name) const { return folder_ / name; }

  QuantizeOptions options() const {
    QuantizeOptions out;
    out.model = folder_ / "model";
    out.output = output();
    out.group_size = -1;  // fits every width
    out.calibration = folder_ / "text.txt";
    out.calibration_samples = 16;
    out.calibration_seqlen = 16;
    out.threads = 1;  // more would wait for each other longer than they work
    return out;
  }

  /// Name and bytes of every file that has to be the same for the same input.
  Files published() const {
    Files out;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(output())) {
      const std::string name = entry.path().filename().string();
      if (entry.is_regular_file() && name != "awq_run.json") out[name] = read_bytes(entry.path());
    }
    return out;
  }

 private:
  /// Lines of random small words; enough for 16 blocks of 16 tokens and a tenth to measure on.
  static std::string text() {
    std::string out;
    for (std::uint64_t i = 0; out.size() < 500; ++i) {
      for (std::uint64_t letter = 0; letter <= random_bits(1, i) % 6; ++letter) {
        out += static_cast<char>('a' + static_cast<char>(random_bits(i + 2, letter) % 26));
      }
      out += i % 8 == 7 ? '\n' : ' ';
    }
    return out + "\n";
  }

  TempFolder folder_;
};

}  // namespace awq::test
