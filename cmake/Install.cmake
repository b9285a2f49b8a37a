# cmake --install: the program, its recipes, the libraries, the headers, and a package for find_package(pfc).
include(CMakePackageConfigHelpers)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/pfc)
# An export a library: who asks for one meets nothing of what the others need.
foreach(library pfc_base pfc_kernels pfc_head pfc_data pfc_core pfc)
  install(TARGETS ${library} EXPORT ${library} FILE_SET HEADERS)
  install(EXPORT ${library} NAMESPACE pfc:: DESTINATION ${package})
endforeach()
install(TARGETS pfc_app)
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/pfc)
if(TARGET pfc_mpi)
  install(TARGETS pfc_mpi LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

configure_package_config_file(cmake/pfcConfig.cmake.in ${PROJECT_BINARY_DIR}/pfcConfig.cmake
                              INSTALL_DESTINATION ${package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/pfcConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/pfcConfig.cmake ${PROJECT_BINARY_DIR}/pfcConfigVersion.cmake cmake/LibTorch.cmake
              cmake/LibTorchCuda.cmake
        DESTINATION ${package})
