// Texts for calibration and evaluation.

#include "text/documents.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "awq/error.h"
#include "support/checkpoints.h"
#include "support/temp_folder.h"

namespace awq::text {
namespace {

using Texts = std::vector<std::string>;

Documents read(const std::string& name, const std::string& bytes) {
  const test::TempFolder folder;
  test::write_bytes(folder / name, bytes);
  return read_documents(folder / name);
}

std::string error_of(const std::string& name, const std::string& bytes) {
  try {
    read(name, bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorruptFile);
    return error.what();
  }
  ADD_FAILURE() << "no error for " << bytes;
  return "";
}

TEST(Documents, RunningTextIsOne) {
  const Documents documents = read("a.txt", "one\n\ntwo <|endoftext|> inside a line\n");
  EXPECT_FALSE(documents.is_list);
  EXPECT_EQ(documents.texts, (Texts{"one\n\ntwo <|endoftext|> inside a line\n"}));
}

TEST(Documents, AByteOrderMarkIsNoText) {
  EXPECT_EQ(read("marked.txt", "\xEF\xBB\xBFtext").texts, Texts{"text"});
  EXPECT_EQ(read("marked.jsonl", "\xEF\xBB\xBF{\"text\": \"text\"}").texts, Texts{"text"});
}

TEST(Documents, SeparatorLinesMakeAList) {
  const Documents documents = read("a.txt", "<|endoftext|>\none\nmore\n<|endoftext|>\n \n<|endoftext|>\ntwo");
  EXPECT_TRUE(documents.is_list);
  EXPECT_EQ(documents.texts, (Texts{"one\nmore", "two"})) << "blank documents are left out";
}

TEST(Documents, LineEndsOfOtherSystemsDoNotStayAtSeparators) {
  const Documents documents = read("a.txt", "one\r\nmore\r\n<|endoftext|>\r\ntwo\r\n<|endoftext|>\r\n");
  EXPECT_TRUE(documents.is_list);
  EXPECT_EQ(documents.texts, (Texts{"one\r\nmore", "two"})) << "line ends inside a document are its own";
  EXPECT_EQ(read("a.txt", "one\r\n").texts, (Texts{"one\r\n"}));
}

TEST(Documents, JsonLines) {
  const Documents documents = read("a.jsonl",
                                   "{\"text\": \"one\"}\r\n\n"
                                   "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"content\": \"b\"}]}\n"
                                   "{\"text\": \"  \"}\n");
  EXPECT_TRUE(documents.is_list);
  EXPECT_EQ(documents.texts, (Texts{"one", "a\n\nb"}));
}

TEST(Documents, ErrorsNameTheLine) {
  EXPECT_NE(error_of("a.jsonl", "{\"text\": \"one\"}\n{\"txt\": \"two\"}\n").find("line 2"), std::string::npos);
  EXPECT_NE(error_of("a.jsonl", "{\"text\": 1}\n").find("line 1"), std::string::npos);
  EXPECT_NE(error_of("a.jsonl", "not json\n").find("line 1"), std::string::npos);
  EXPECT_NE(error_of("a.jsonl", "{\"messages\": [{\"role\": \"user\"}]}\n").find("line 1"), std::string::npos);
}

TEST(Documents, EmptyAndInvalidTextIsRefused) {
  for (const char* name : {"a.txt", "a.jsonl"}) {
    error_of(name, "");
    error_of(name, " \n\n");
  }
  EXPECT_NE(error_of("a.txt", "abc\xff").find("byte 3"), std::string::npos);
  error_of("a.txt", "cut \xe2\x82");
  error_of("a.txt", "surrogate \xed\xa0\x80");
  try {
    read_documents("missing.txt");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  }
}

}  // namespace
}  // namespace awq::text
