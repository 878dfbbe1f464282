import { REQUEST_MS_MAX, withAdmin } from "./admin.ts";
import { type KafkaSettings, projectorGroup } from "./client.ts";
import { errorType } from "./errors.ts";
import { within } from "./wait.ts";

/**
 * Whether any process is a member of the projectors' group: one that was killed is for as long as its session lasts. Also true
 * where we may not know. Throws KafkaAway.
 */
export function hasProjector(settings: KafkaSettings): Promise<boolean> {
  return withAdmin(settings, async (admin) => {
    try {
      const { groups } = await within(admin.describeGroups([projectorGroup(settings.prefix)]), REQUEST_MS_MAX);
      return groups.some(({ members }) => members.length > 0);
    } catch (error) {
      const type = errorType(error);
      if (type === "GROUP_ID_NOT_FOUND") return false;
      if (type === "GROUP_AUTHORIZATION_FAILED") return true;
      throw error;
    }
  });
}
