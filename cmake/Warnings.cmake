# pfc_warnings(target): the warnings every target of this project is built with.
function(pfc_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
                         -Wold-style-cast -Woverloaded-virtual)
  if(PFC_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
