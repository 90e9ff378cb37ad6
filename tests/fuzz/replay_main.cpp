// Runs a fuzz target without a fuzzer: on every file of the corpus folder that is named on the command line, on
// truncations and mutations of them, and on random bytes. The same inputs every time.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t kTruncations = 64;  // per file, spread over its length
constexpr int kMutations = 64;            // per file
constexpr int kRandomInputs = 256;
constexpr std::size_t kMaxRandomBytes = 96;

/// The input goes into memory of its exact size, so that a sanitizer sees a read past its end.
void run(const std::string& input) {
  const std::vector<std::uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

std::vector<std::string> read_corpus(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  if (std::filesystem::is_directory(folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> out;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    out.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return out;
}

std::string mutate(std::string input, std::mt19937_64& random) {
  const std::size_t changes = 1 + random() % 4;
  for (std::size_t i = 0; i < changes && !input.empty(); ++i) {
    const std::size_t at = random() % input.size();
    switch (random() % 4) {
      case 0:
        input[at] = static_cast<char>(random());
        break;
      case 1:
        input[at] = static_cast<char>(input[at] ^ (1 << random() % 8));
        break;
      case 2:
        input.erase(at, 1 + random() % 4);
        break;
      default:
        input.insert(at, input.substr(random() % input.size(), 1 + random() % 16));
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> corpus = argc > 1 ? read_corpus(argv[1]) : std::vector<std::string>();
  std::mt19937_64 random(1);
  for (const std::string& input : corpus) {
    run(input);
    const std::size_t step = std::max<std::size_t>(1, input.size() / kTruncations);
    for (std::size_t size = 0; size < input.size(); size += step) run(input.substr(0, size));
    for (int i = 0; i < kMutations; ++i) run(mutate(input, random));
  }
  for (int i = 0; i < kRandomInputs; ++i) {
    std::string input(random() % kMaxRandomBytes, '\0');
    for (char& byte : input) byte = static_cast<char>(random());
    run(input);
  }
  std::printf("%zu corpus files\n", corpus.size());
  // A target without a corpus would pass without having been tried.
  return corpus.empty() ? 1 : 0;
}
