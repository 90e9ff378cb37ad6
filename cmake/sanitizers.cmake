if(AWQ_SANITIZE)
  add_compile_options(-fsanitize=${AWQ_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${AWQ_SANITIZE})
endif()
