# NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS: a Worker that is being terminated can throw nothing, and must not end the process
# Solaris and illumos: "sunos" in Node, "solaris" in gyp. __EXTENSIONS__: all of the system, not the part that a standard names.
# _GLIBCXX_ASSERTIONS: std::string, of which node-addon-api has one, is then instantiated here, so that no libstdc++ is needed
{
  "targets": [{
    "target_name": "privdrop",
    "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED", "_GLIBCXX_ASSERTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
    "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
    "conditions": [["OS=='linux'", {
      "sources": [
        "src-native/addon.cc",
        "src-native/accounts.c",
        "src-native/child.c",
        "src-native/end.c",
        "src-native/questions.c",
        "src-native/walk.c",
        "src-native/linux/captext.c",
        "src-native/linux/children.c",
        "src-native/linux/commit.c",
        "src-native/linux/descriptors.c",
        "src-native/linux/exchange.c",
        "src-native/linux/initgroups.c",
        "src-native/linux/park.c",
        "src-native/linux/proc.c",
        "src-native/linux/rehearse.c",
        "src-native/linux/signals.c",
        "src-native/linux/steps.c"
      ],
      "cflags!": ["-O3"],
      "cflags": ["-Wall", "-Wextra", "-fvisibility=hidden", "-fstack-protector-strong", "-Os", "-ffunction-sections", "-fdata-sections",
        "-fno-asynchronous-unwind-tables", "-fno-exceptions"],
      "cflags_c": ["-std=gnu11", "-Wshadow", "-Wstrict-prototypes"],
      "ldflags": [
        "-Wl,--version-script=<(module_root_dir)/src-native/exports.map",
        "-Wl,--as-needed", "-Wl,--gc-sections", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack",
        "-Wl,-z,noseparate-code"
      ],
      "libraries": ["-l:libcap.a"]
    }], ["OS=='solaris'", {
      "sources": [
        "src-native/accounts.c",
        "src-native/sunos/addon.c",
        "src-native/sunos/attempts.c",
        "src-native/sunos/commit.c",
        "src-native/sunos/descriptors.c",
        "src-native/sunos/observe.c",
        "src-native/sunos/privileges.c",
        "src-native/sunos/rehearse.c",
        "src-native/sunos/steps.c"
      ],
      "defines": ["__EXTENSIONS__", "_POSIX_PTHREAD_SEMANTICS"],
      "cflags": ["-Wall", "-Wextra", "-fvisibility=hidden", "-Os"],
      "cflags_c": ["-std=gnu11"],
      "libraries": ["-lsocket"]
    }]]
  }]
}
