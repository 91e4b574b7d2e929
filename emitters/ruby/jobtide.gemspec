# frozen_string_literal: true

require_relative "lib/jobtide/version"

Gem::Specification.new do |spec|
  spec.name = "jobtide"
  spec.version = Jobtide::VERSION
  spec.authors = ["The jobtide developers"]
  spec.summary = "Tells jobtide what happens to each background job of a Ruby app"
  spec.description = "Hooks for Sidekiq, ActiveJob, GoodJob, Solid Queue, DelayedJob, Resque, Shoryuken, Sneakers and Karafka that report every step of a job, and can never hurt one: no hook waits, raises into a job, or slows it."
  spec.license = "Apache-2.0"
  spec.required_ruby_version = ">= 2.7"
  spec.files = Dir["lib/**/*.rb", "examples/**/*.rb", "README.md", "CHANGELOG.md", "LICENSE"]
  spec.require_paths = ["lib"]
  # No dependencies: HTTP is the standard library's; backends and Kafka clients are the app's.
end
