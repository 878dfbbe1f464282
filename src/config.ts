// The settings: config/table.ts says all there are; config/load.ts reads them.
export { readArguments } from "./config/arguments.ts";
export { type Loaded, loadSettings } from "./config/load.ts";
export { type SettingProblem, SettingsError } from "./config/problems.ts";
export { type Reloaded, reload } from "./config/reload.ts";
export { deployment, isLoopback, isProtected } from "./config/rules.ts";
export type {
  KeySetting,
  KnownSetting,
  LogFormat,
  LogLevel,
  RateLimit,
  Role,
  Settings,
  WebhookSetting,
} from "./config/settings.ts";
export { LOG_FORMATS, LOG_LEVELS, ROLES } from "./config/settings.ts";
