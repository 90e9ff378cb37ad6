#include "server/page.h"

// The page goes into the program as it is; CMake names the file and rebuilds this one when it changes.
__asm__(
    ".pushsection .rodata\n"
    ".global awq_chat_page_begin\n"
    ".global awq_chat_page_end\n"
    "awq_chat_page_begin:\n"
    ".incbin \"" AWQ_CHAT_PAGE_FILE
    "\"\n"
    "awq_chat_page_end:\n"
    ".popsection\n");

extern "C" {
extern const char awq_chat_page_begin[];
extern const char awq_chat_page_end[];
}

namespace awq::server {

std::string_view chat_page() {
  return {awq_chat_page_begin, static_cast<std::size_t>(awq_chat_page_end - awq_chat_page_begin)};
}

}  // namespace awq::server
