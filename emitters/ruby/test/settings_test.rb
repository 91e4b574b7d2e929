# frozen_string_literal: true

require "test_helper"

class SettingsTest < Minitest::Test
  Settings = Jobtide::Settings

  def test_environment_and_keywords_keywords_win
    settings, unknown = Settings.load({ "JOBTIDE_EMITTER_TENANT" => "acme", "JOBTIDE_EMITTER_QUEUE_EVENTS" => "500", "JOBTIDE_EMITTER_TYPO" => "1", "PATH" => "x" }, { tenant: "other" })
    assert_equal ["other", 500, ["JOBTIDE_EMITTER_TYPO"]], [settings.tenant, settings.queue_events, unknown]
  end

  def test_off_without_a_target_and_by_the_switch
    refute Settings.new.active?
    assert Settings.new(url: "http://h/v1/events").active?
    refute Settings.load({ "JOBTIDE_EMITTER_URL" => "http://h/", "JOBTIDE_EMITTER_DISABLED" => "yes" })[0].active?
  end

  [
    [{ tenant: "Acme!" }, /TENANT/], [{ tenant: "acme\n" }, /TENANT/], [{ environment: "" }, /ENVIRONMENT/], [{ url: "gopher://x" }, /URL/],
    [{ url: "http://x", broker: "y:1" }, /BROKER/], [{ client: "java" }, /CLIENT/], [{ error_detail: "some" }, /ERROR_DETAIL/],
    [{ queue_events: 99 }, /at least 100/], [{ security_protocol: "TLS" }, /SECURITY_PROTOCOL/], [{ nonsense: 1 }, /no setting :nonsense/]
  ].each do |values, message|
    define_method("test_refuses_#{values}") do
      assert_match message, assert_raises(Jobtide::ConfigError) { Settings.new(**values) }.message
    end
  end

  def test_refuses_what_is_no_number_or_switch
    assert_match(/whole number/, assert_raises(Jobtide::ConfigError) { Settings.load({ "JOBTIDE_EMITTER_LINGER_MS" => "5s" }) }.message)
    assert_match(/switch/, assert_raises(Jobtide::ConfigError) { Settings.load({ "JOBTIDE_EMITTER_DISABLED" => "maybe" }) }.message)
  end

  def test_secrets_are_not_printed
    refute_match(/hunter2/, Settings.new(token: "hunter2", sasl_password: "hunter2").inspect)
  end

  def test_the_readme_has_every_setting_with_its_default_and_meaning
    readme = File.read(File.expand_path("../README.md", __dir__))
    Settings::KNOWN.each do |name, (default, meaning)|
      shown = { "" => "—", false => "0" }.fetch(default, default.to_s)
      assert_includes readme, "| `JOBTIDE_EMITTER_#{name.to_s.upcase}` | #{shown} | #{meaning} |"
    end
  end

  def test_the_names_the_python_emitter_has_mean_the_same_here
    python = File.read(File.expand_path("../../python/README.md", __dir__)).scan(/`JOBTIDE_EMITTER_(\w+)` \| (\S+) \|/).to_h
    known = Settings::KNOWN.to_h { |name, (default, _)| [name.to_s.upcase, { "" => "—", false => "0" }.fetch(default, default.to_s)] }
    shared = python.keys & known.keys
    assert_operator shared.size, :>=, 20
    assert_equal python.slice(*shared), known.slice(*shared)
  end
end
