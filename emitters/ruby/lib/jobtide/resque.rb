# frozen_string_literal: true

require "resque"
require "jobtide"
require "jobtide/resque/queueing"
require "jobtide/resque/working"

# Resque 1.27 to 3: `require "jobtide/resque"` in the app and where workers are started (the railtie does).
#
# Resque has no job ids: each job that is pushed gets one, beside its class and arguments. A worker's children live for one
# job and end by `exit!`: they write their events to a file, and the worker delivers them (see Handover).
module Jobtide
  module Resque
    # Called by itself.
    def self.install
      return if @installed

      @installed = true
      Backend.tells("resque")
      ::Resque.singleton_class.prepend(Queueing::Push)
      ::Resque::Job.singleton_class.prepend(Queueing::Destroy)
      ::Resque::Job.prepend(Working::Perform)
      ::Resque::Worker.prepend(Working::Life)
    end
  end
end

Jobtide::Resque.install
