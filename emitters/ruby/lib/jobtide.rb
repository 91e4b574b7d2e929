# frozen_string_literal: true

# Tells jobtide what happens to each background job. Hooks are separate: "jobtide/sidekiq", "jobtide/active_job",
# "jobtide/delayed_job", "jobtide/resque", "jobtide/good_job", "jobtide/solid_queue", "jobtide/shoryuken", "jobtide/sneakers",
# "jobtide/karafka"; "jobtide/railtie" installs those that an app has.
#
# `Jobtide.configure` (or JOBTIDE_EMITTER_* in the environment) says where events go; `Jobtide.emitter` is the process's
# emitter, for events of one's own. Nothing here waits for I/O in a job, raises into it, or slows it: see guard, flusher.
require "jobtide/version"
require "jobtide/errors"
require "jobtide/guard"
require "jobtide/settings"
require "jobtide/emitter"
require "jobtide/process"

require "jobtide/railtie" if defined?(::Rails::Railtie)
