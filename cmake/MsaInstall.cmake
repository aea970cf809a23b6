# What `cmake --install` puts where: the library, its headers, the program msa, and the descriptions
# that let other projects find them (find_package(msa), pkg-config msa). The installed tree can be
# moved. Included where the target msa is made.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(msa_config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/msa")

install(
  TARGETS msa
  EXPORT msaTargets
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/msa" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.h")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")

install(EXPORT msaTargets NAMESPACE msa:: DESTINATION "${msa_config_dir}")
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/msaConfig.cmake.in" "${PROJECT_BINARY_DIR}/generated/msaConfig.cmake"
  INSTALL_DESTINATION "${msa_config_dir}" NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/generated/msaConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/generated/msaConfig.cmake"
              "${PROJECT_BINARY_DIR}/generated/msaConfigVersion.cmake"
        DESTINATION "${msa_config_dir}")

# The prefix as seen from the folder of msa.pc, which may be lib/pkgconfig or lib/<triplet>/pkgconfig.
file(RELATIVE_PATH msa_prefix_from_pc "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig"
     "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" msa_prefix_from_pc "${msa_prefix_from_pc}")
configure_file("${PROJECT_SOURCE_DIR}/cmake/msa.pc.in" "${PROJECT_BINARY_DIR}/generated/msa.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/generated/msa.pc"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

# The program is made after the library, in another folder: its rule waits until all are read.
function(msa_install_program)
  if(TARGET msa_cli)
    include(GNUInstallDirs)  # runs in the scope of the topmost folder, which knows none of the above
    file(RELATIVE_PATH lib_from_bin "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBDIR}")
    set_target_properties(msa_cli PROPERTIES INSTALL_RPATH "$ORIGIN/${lib_from_bin}")
    install(TARGETS msa_cli RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
  endif()
endfunction()
cmake_language(DEFER DIRECTORY "${PROJECT_SOURCE_DIR}" CALL msa_install_program)
