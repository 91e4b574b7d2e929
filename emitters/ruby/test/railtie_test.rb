# frozen_string_literal: true

require "test_helper"
require "open3"
require "rbconfig"

begin
  require "logger"
  require "rails"
  require "active_job/railtie"
rescue LoadError
  warn "Rails is not installed: the railtie is not tested"
end

if defined?(Rails::Railtie) && defined?(ActiveJob::Railtie)
  # A Rails app of one line in the Gemfile (what Bundler requires) and two settings, in a process of its own.
  class RailtieTest < Minitest::Test
    include JobtideTest

    APP = <<~RUBY
      require "logger"
      require "rails"
      require "active_job/railtie"
      %w[BACKENDS].each { |name| require name }
      require "jobtide" # the line in the Gemfile
      class App < Rails::Application
        config.eager_load = false
        config.logger = Logger.new($stdout)
        config.log_level = :warn
        config.active_job.queue_adapter = :inline
        config.active_support.to_time_preserves_timezone = :zone if Rails.version >= "8"
      end
      class Invoice < ActiveJob::Base
        def perform = puts("performed")
      end
      App.initialize!
      Invoice.perform_later
      puts Jobtide.sites.keys.map { |name| name[/\\A\\w+/] }.uniq.sort.join(",")
    RUBY

    def run_app(backends = "", **settings)
      environment = { "RAILS_ENV" => "staging", "TMPDIR" => ENV["TMPDIR"] }.merge(settings.transform_keys { |name| "JOBTIDE_EMITTER_#{name.to_s.upcase}" })
      Dir.mktmpdir do |directory| # Rails looks for its root there
        File.write(File.join(directory, "config.ru"), "")
        File.write(File.join(directory, "app.rb"), APP.sub("BACKENDS", backends))
        lib = File.expand_path("../lib", __dir__)
        output, status = Open3.capture2e(environment, RbConfig.ruby, "-I", lib, "-I", File.expand_path("stand_ins", __dir__), "app.rb", chdir: directory)
        assert status.success?, output
        output
      end
    end

    def test_one_line_and_two_settings
      gateway = FakeGateway.new
      assert_match(/performed/, run_app(url: gateway.url, environment: "production"))
      told = gateway.events.select { |event| event["type"].start_with?("job.") }
      assert_equal [%w[job.enqueued.v1 job.finished.v1 job.started.v1], ["production"], ["Invoice"]],
                   [told.map { |event| event["type"] }.sort, told.map { |event| event["data"]["environment"] }.uniq, told.map { |event| event["data"]["job_class"] }.uniq]
      assert_includes gateway.events.map { |event| event["type"] }, "worker.offline.v1"
    ensure
      gateway.close
    end

    def test_the_environment_is_rails_by_default
      gateway = FakeGateway.new
      run_app(url: gateway.url)
      assert_equal ["staging"], gateway.events.map { |event| event["data"]["environment"] }.uniq
    ensure
      gateway.close
    end

    def test_all_backends_that_the_app_has
      assert_match(/active_job,.*good_job,.*karafka,.*shoryuken,.*sneakers/, run_app("good_job karafka shoryuken sneakers"))
    end

    # A wrong setting is a line in the log, never an app that does not start.
    def test_a_wrong_setting
      output = run_app(url: "nowhere")
      assert_match(/performed/, output)
      assert_match(/JOBTIDE_EMITTER_URL/, output)
    end

    def test_a_hook_that_cannot_be_installed
      output = run_app("broken_karafka")
      assert_match(/performed/, output)
      assert_match(%r{jobtide/karafka is not installed}, output)
    end
  end
end
