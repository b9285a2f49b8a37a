# cmake --install: the program, the libraries, the headers, and a package for find_package(pfc).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/pfc)
set_target_properties(pfc_core PROPERTIES EXPORT_NAME core)
install(TARGETS pfc_core pfc EXPORT pfcTargets FILE_SET HEADERS)
install(TARGETS pfc_app)
install(EXPORT pfcTargets NAMESPACE pfc:: DESTINATION ${package})

configure_package_config_file(cmake/pfcConfig.cmake.in ${PROJECT_BINARY_DIR}/pfcConfig.cmake
                              INSTALL_DESTINATION ${package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/pfcConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/pfcConfig.cmake ${PROJECT_BINARY_DIR}/pfcConfigVersion.cmake cmake/LibTorch.cmake cmake/Cuda.cmake
        DESTINATION ${package})
